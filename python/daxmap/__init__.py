"""virtiofs DAX for virtual machine monitors: host files mapped straight into a guest's memory.

A `DaxMapper` keeps the mappings of one share's DAX window and makes them visible to one guest through a backend. Its
log records go to the logger `daxmap`.
"""

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
    reopen,
)

TYPE_CHECKING = False  # typing itself would take as long to import as all of the above
if TYPE_CHECKING:
    from daxmap.config import DaxConfig, ShareConfig
    from daxmap.dispatcher import DaxDispatcher
    from daxmap.file_server import FileServer
    from daxmap.fuse import FUSE_NO_FH
    from daxmap.layout import DAX_WINDOW_PER_SHARE, Share, WindowLayout, dax_window_base, dax_window_total
    from daxmap.protocols import Access
    from daxmap.status import DaxStatus
else:
    # A program waits for what it uses only: each of these is imported when it is first asked for (PEP 562).
    _MODULES = {
        "DAX_WINDOW_PER_SHARE": "layout",
        "FUSE_NO_FH": "fuse",
        "Access": "protocols",
        "DaxConfig": "config",
        "DaxDispatcher": "dispatcher",
        "DaxStatus": "status",
        "FileServer": "file_server",
        "Share": "layout",
        "ShareConfig": "config",
        "WindowLayout": "layout",
        "dax_window_base": "layout",
        "dax_window_total": "layout",
    }

    def __getattr__(name: str) -> object:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  (only where something is asked for)

        value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
        return value

    def __dir__() -> list[str]:
        return [*globals(), *_MODULES]


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
