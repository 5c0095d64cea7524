"""Writes rust/daxmap-py/src/docs.rs: the docstrings of stubs/daxmap/_core.pyi, for the extension module.

    python scripts/docs.py            # after a change of the stub
    python scripts/docs.py --check    # fails if the file is not what the stub says

So what `help()` shows is what an editor shows, and it is written once.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUB = ROOT / "stubs/daxmap/_core.pyi"
RUST = ROOT / "rust/daxmap-py/src/docs.rs"

HEAD = """\
//! What `help()` says of the extension module. Made by scripts/docs.py from stubs/daxmap/_core.pyi: change it there.

/// The docstring of a class, a method, a property or a function, by its name in Python: `docstring!(DaxMapper.reset)`.
macro_rules! docstring {
"""
TAIL = """\
}

pub(crate) use docstring;
"""


def docstrings(stub: ast.Module) -> Iterator[tuple[str, str]]:
    """Each name that has a docstring, and the docstring."""
    for node in stub.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        text = ast.get_docstring(node)
        if text:
            yield node.name, text
        for member in node.body:
            text = ast.get_docstring(member) if isinstance(member, ast.FunctionDef) else None
            if text and isinstance(member, ast.FunctionDef):
                yield f"{node.name}.{member.name}", text


def literal(text: str) -> str:
    """A string literal of Rust, raw only as far as it has to be."""
    if '"' in text:
        return f'r#"{text}"#'
    return f'r"{text}"' if "\\" in text else f'"{text}"'


def rust() -> str:
    """The whole file."""
    found = docstrings(ast.parse(STUB.read_text()))
    arms = [f"    ({name}) => {{\n        {literal(text)}\n    }};\n" for name, text in found]
    return HEAD + "".join(arms) + TAIL


def main() -> int:
    """Write the file, or compare it; the exit code."""
    parser = argparse.ArgumentParser(description="Give the extension module the docstrings of its stub.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if not parser.parse_args().check:
        RUST.write_text(rust())
    elif RUST.read_text() != rust():
        print(f"{RUST.relative_to(ROOT)} is not what {STUB.relative_to(ROOT)} says: run scripts/docs.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
