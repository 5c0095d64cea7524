"""Check that a wheel for macOS imports nothing but Python's own symbols and those of libSystem.

An extension module is linked without the interpreter, so the linker takes any unknown name for one that will be there
when the module is loaded: a misspelt one is found here, or by the first user.
"""

import sys
import zipfile
from collections import Counter
from collections.abc import Iterator

import lief

SYSTEM = "/usr/lib/libSystem.B.dylib"
FLAT_LOOKUP = -2
"""BIND_SPECIAL_DYLIB_FLAT_LOOKUP of mach-o/loader.h: found in whatever the process has loaded."""


def read_module(path: str) -> lief.MachO.Binary:
    """Read the one extension module of a wheel, of one architecture."""
    with zipfile.ZipFile(path) as wheel:
        [name] = (name for name in wheel.namelist() if name.endswith(".so"))
        binaries = lief.MachO.parse(list(wheel.read(name)))
    module = binaries.at(0) if binaries is not None and binaries.size == 1 else None
    if module is None:
        raise SystemExit(f"{path}: {name} is no Mach-O file of one architecture")
    return module


def source_of(symbol: lief.MachO.Symbol) -> str | None:
    """The library that an imported symbol is of, or None if it is looked for in whatever the process has loaded."""
    binding = symbol.binding_info
    if binding is None or binding.library_ordinal == FLAT_LOOKUP:
        return None
    return str(binding.library.name) if binding.library else f"library {binding.library_ordinal}"


def faults(module: lief.MachO.Binary) -> Iterator[str]:
    """What should not be there."""
    if module.header.cpu_type != lief.MachO.Header.CPU_TYPE.ARM64:
        yield f"it is for {module.header.cpu_type}"
    _own, *libraries = [library.name for library in module.libraries]
    if libraries != [SYSTEM]:
        yield f"it loads {libraries}"
    for symbol in module.imported_symbols:
        name, source = str(symbol.name), source_of(symbol)
        if source is None and not name.startswith(("_Py", "__Py")):
            yield f"{name} is no name of Python, and of no library"
        elif source not in {None, SYSTEM}:
            yield f"{name} is of {source}"


def main(path: str) -> int:
    """Tell what a wheel imports. The exit code is 1 if that is not what it should be."""
    lief.logging.disable()
    module = read_module(path)
    counts = Counter(source_of(symbol) or "Python" for symbol in module.imported_symbols)
    found = list(faults(module))
    if set(counts) != {"Python", SYSTEM}:
        found.append("it is no extension module, or was not read rightly")
    found.append("imports " + ", ".join(f"{count} symbols of {source}" for source, count in counts.items()))
    sys.stdout.writelines(f"{path}: {line}\n" for line in found)
    return 1 if len(found) > 1 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
