"""An extension of griffe, which reads the sources for the site: classes that are made by `__new__` have parameters.

A class of the Rust module has no `__init__`: what it is made of is the signature of `__new__`. griffe
looks at `__init__` alone, and would take each argument of such a class's docstring for one that there is not.
"""

import griffe

__all__ = ["Constructors"]


class Constructors(griffe.Extension):  # type: ignore[misc]  # mypy runs where griffe is not installed, too
    """Gives a class without `__init__` one that looks like its `__new__`."""

    def on_class_members(self, *, cls: griffe.Class, **_: object) -> None:
        """Called for each class, when all its members are known."""
        new = cls.members.get("__new__")
        if not isinstance(new, griffe.Function) or "__init__" in cls.members:
            return
        first, *others = new.parameters
        init = griffe.Function("__init__", parameters=griffe.Parameters(self_like(first), *others), lineno=new.lineno)
        cls.set_member("__init__", init)
        cls.del_member("__new__")


def self_like(parameter: griffe.Parameter) -> griffe.Parameter:
    """The first parameter of a method, in place of a class's."""
    return griffe.Parameter("self", kind=parameter.kind)
