"""One rule: where the tensors of a role, a component or a glob are placed on a mesh."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from explorer.errors import InputError, shown
from explorer.inventory.tensor import Component, Role
from explorer.paths import matches
from explorer.roles.names import classify

__all__ = ["Entry", "Path", "Rule", "Rules", "Spec", "names_in"]

Path = tuple[str, ...]
Entry = str | tuple[str, ...] | None
Spec = tuple[Entry, ...]


def names_in(entry: Entry) -> tuple[str, ...]:
    """Return the mesh axes that one entry of a spec names.

    >>> names_in(("data", "fsdp")), names_in("tensor"), names_in(None)
    (('data', 'fsdp'), ('tensor',), ())
    """
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else entry


class Rule(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """Where the tensors of a role, component or glob are placed; all that are given must fit.

    `spec` names a mesh axis, a tuple of them or None for each of a tensor's *last* axes, so
    that one rule fits a layer and a stack of layers; an axis alone is that of the last. A
    rule without condition fits all.

    Raises:
        InputError: a role or a component that does not exist, a glob that is not a string, or
            a `spec` that is none or names an axis twice.

    >>> rule = Rule(("fsdp", "tensor"), glob="**/up_proj/kernel")
    >>> rule.fits(("mlp", "up_proj", "kernel"), (8, 32))
    True
    """

    spec: Spec
    role: str | None = None
    component: str | None = None
    glob: str | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "spec", _entries(self.spec))
        if not isinstance(self.glob, str | None):
            raise InputError("Rule(glob=)", found=shown(self.glob, 60), expected="one glob")
        _check_word("role", self.role, get_args(Role))
        _check_word("component", self.component, get_args(Component))

    def fits(self, path: Path, shape: tuple[int, ...]) -> bool:
        """Return whether the rule is about a tensor of this path and shape."""
        if self.glob is not None and not matches(path, self.glob):
            return False
        if self.role is None and self.component is None:
            return True
        role, component = classify(path, shape)
        return self.role in (None, role) and self.component in (None, component)


Rules = Sequence[Rule]


def _entries(spec: Any) -> Spec:
    """Return a spec in its only form: a tuple of names, tuples of names and None."""
    found = shown(spec, 60)
    several = (spec,) if isinstance(spec, str) else spec
    try:
        entries = tuple(e if isinstance(e, str | None) else tuple(e) for e in several)
        names = [name for entry in entries for name in names_in(entry)]
        twice = [name for name in names if names.count(name) > 1]
        "".join(names)  # of nothing but strings
    except TypeError:
        wanted = 'axes of a mesh such as ("fsdp", None)'
        raise InputError("Rule(spec)", found=found, expected=wanted) from None
    if twice:
        raise InputError(
            "Rule(spec)",
            found=f"{found} names {shown(twice[0], 60)} twice",
            expected="each axis of a mesh once",
        )
    return entries


def _check_word(what: str, word: str | None, known: tuple[str, ...]) -> None:
    if word is not None and (not isinstance(word, str) or word not in known):
        raise InputError(
            f"Rule({what}=)",
            found=shown(word, 60),
            expected=f"one of {', '.join(known)}",
        )
