"""Configurations in TOML files."""

import difflib
import tomllib
from pathlib import Path

from daxmap.config import DaxConfig, key_path

__all__ = ["read_config"]


def read_config(path: Path) -> DaxConfig:
    """The configuration in a file: its table `daxmap`, beside others, or if there is none, the whole document.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no TOML, or has a key that is wrong. The message says where, in one line.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"the end, line {len(text.splitlines())}"
        raise ValueError(str(error).replace("end of document", end)) from None
    try:
        return _config_in(document)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _config_in(document: dict[str, object]) -> DaxConfig:
    if "daxmap" not in document:
        for key, value in document.items():
            if isinstance(value, dict) and difflib.get_close_matches(key, ["daxmap"]):
                raise ValueError(f"{key}: unknown table; did you mean daxmap?")
        return DaxConfig.from_toml_table(document)
    table = document["daxmap"]
    if not isinstance(table, dict):
        raise TypeError(f"daxmap: {table!r} is not a table")
    with key_path("daxmap"):
        return DaxConfig.from_toml_table(table)
