"""virtiofs DAX for virtual machine monitors: host files mapped straight into a guest's memory.

A `DaxMapper` keeps the mappings of one share's DAX window and makes them visible to one guest through a backend. Its
log records go to the logger `daxmap`.
"""

import logging

from daxmap import _exit as _exit
from daxmap._core import (
    DaxMapper,
    DaxStats,
    HostWindowBackend,
    HvfBackend,
    HypervisorBackend,
    KvmBackend,
    MappingInfo,
    RemoveResult,
    __version__,
)
from daxmap.config import DaxConfig, ShareConfig
from daxmap.dispatcher import DaxDispatcher
from daxmap.file_server import FileServer
from daxmap.fuse import FUSE_NO_FH
from daxmap.layout import DAX_WINDOW_PER_SHARE, Share, WindowLayout, dax_window_base, dax_window_total
from daxmap.protocols import Access
from daxmap.reopen import reopen
from daxmap.status import DaxStatus

__all__ = [
    "DAX_WINDOW_PER_SHARE",
    "FUSE_NO_FH",
    "Access",
    "DaxConfig",
    "DaxDispatcher",
    "DaxMapper",
    "DaxStats",
    "DaxStatus",
    "FileServer",
    "HostWindowBackend",
    "HvfBackend",
    "HypervisorBackend",
    "KvmBackend",
    "MappingInfo",
    "RemoveResult",
    "Share",
    "ShareConfig",
    "WindowLayout",
    "__version__",
    "dax_window_base",
    "dax_window_total",
    "reopen",
]

logging.getLogger("daxmap").addHandler(logging.NullHandler())
