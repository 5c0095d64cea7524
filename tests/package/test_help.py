"""`help()` and editors say the same: the stub's docstrings and signatures are those of the extension module."""

import ast
import inspect
from collections.abc import Iterator

import pytest

import daxmap
from daxmap import _core
from support.paths import PROJECT as ROOT

STUB = ast.parse((ROOT / "stubs/daxmap/_core.pyi").read_text())

Function = ast.FunctionDef


def documented() -> Iterator[tuple[str, str]]:
    """Each name of the stub that has a docstring."""
    for node in STUB.body:
        if not isinstance(node, ast.ClassDef | Function):
            continue
        for name, member in [(node.name, node), *((f"{node.name}.{m.name}", m) for m in functions(node))]:
            text = ast.get_docstring(member)
            if text and not name.endswith("__"):  # of those, `__doc__` is Python's own
                yield name, text


def functions(node: ast.stmt) -> Iterator[Function]:
    for member in getattr(node, "body", []):
        if isinstance(member, Function):
            yield member


def found(name: str) -> object:
    owner: object = _core
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


DOCUMENTED = dict(documented())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstring_is_that_of_the_stub(name: str) -> None:
    assert inspect.getdoc(found(name)) == DOCUMENTED[name]


def public() -> Iterator[str]:
    """All that a user can name, of the package and of its classes' own members."""
    for name in daxmap.__all__:
        thing = getattr(daxmap, name)
        if inspect.isclass(thing):
            yield name
            # What is in slots is described by the class's docstring.
            members = {member: value for kind in thing.__mro__[:-1] for member, value in vars(kind).items()}
            fields = [member for member, value in members.items() if type(value).__name__ == "member_descriptor"]
            yield from (f"{name}.{member}" for member in sorted(members) if member[0] != "_" and member not in fields)
        elif callable(thing):
            yield name


@pytest.mark.parametrize("name", [name for name in public() if not name.startswith("Access.")])
def test_everything_public_has_a_docstring(name: str) -> None:
    thing: object = daxmap
    for part in name.split("."):
        thing = inspect.getattr_static(thing, part)
    if isinstance(thing, classmethod | staticmethod):
        thing = thing.__func__
    assert inspect.getdoc(thing)


def signatures() -> Iterator[tuple[str, Function]]:
    for node in STUB.body:
        if isinstance(node, ast.ClassDef):
            for member in functions(node):
                if not member.decorator_list and (member.name == "__new__" or not member.name.startswith("__")):
                    yield f"{node.name}.{member.name}", member


@pytest.mark.parametrize(("name", "stub"), list(signatures()))
def test_signature_shows_names_and_defaults(name: str, stub: Function) -> None:
    at_run_time = inspect.signature(found(name.removesuffix(".__new__")))  # type: ignore[arg-type]
    parameters = {p.name: p.default for p in at_run_time.parameters.values() if p.name != "self"}
    wanted = [*stub.args.posonlyargs, *stub.args.args, *stub.args.kwonlyargs]
    names = [argument.arg for argument in wanted if argument.arg not in {"self", "cls"}]
    assert list(parameters) == names
    defaults = [*stub.args.defaults, *(default for default in stub.args.kw_defaults if default)]
    given = [default for default in parameters.values() if default is not inspect.Parameter.empty]
    assert [repr(default) for default in given] == [repr(ast.literal_eval(default)) for default in defaults]


def test_help_on_a_method_is_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    help(daxmap.DaxMapper.setup_mapping)
    said = capsys.readouterr().out
    # CPython 3.13 gives each parameter of a long signature a line of its own.
    words = " ".join(said.split()).replace("( ", "(").replace(" )", ")")
    assert "setup_mapping(self, /, fd, file_offset, window_offset, length, writable, *, replace=False)" in words
    assert "FUSE_SETUPMAPPING" in said
    assert "EEXIST" in said
