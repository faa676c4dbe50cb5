"""Rules: which axes of a mesh a tensor's axes are laid over, by role, component or path."""

from collections.abc import Sequence
from typing import get_args

import msgspec

from explorer.errors import InputError, printable
from explorer.paths import matches
from explorer.roles.names import classify
from explorer.tensors import Component, Role
from explorer.tree.walk import Path

__all__ = ["DEFAULT_RULES", "Entry", "Rule", "Rules", "names_in"]

Entry = str | tuple[str, ...] | None


def _check_word(what: str, word: str | None, known: tuple[str, ...]) -> None:
    if word is not None and word not in known:
        raise InputError(
            f"Rule({what}=)",
            found=printable(repr(word), 60),
            expected=f"one of {', '.join(known)}",
        )


class Rule(msgspec.Struct, frozen=True):
    """Where the tensors of a role, of a component, of a glob lie; of all that are given.

    `spec` names a mesh axis, a tuple of them or None for each of a tensor's *last* axes, so
    that one rule fits a layer and a stack of layers. A rule without condition fits all.

    Raises:
        InputError: a role or a component that does not exist.

    >>> rule = Rule(("fsdp", "tensor"), glob="**/up_proj/kernel")
    >>> rule.fits(("mlp", "up_proj", "kernel"), (8, 32))
    True
    """

    spec: tuple[Entry, ...]
    role: str | None = None
    component: str | None = None
    glob: str | None = None

    def __post_init__(self) -> None:
        _check_word("role", self.role, get_args(Role))
        _check_word("component", self.component, get_args(Component))

    def fits(self, path: Path, shape: tuple[int, ...]) -> bool:
        """Say whether the rule is about a tensor of this path and shape."""
        if self.glob is not None and not matches(path, self.glob):
            return False
        if self.role is None and self.component is None:
            return True
        role, component = classify(path, shape)
        return self.role in (None, role) and self.component in (None, component)


Rules = Sequence[Rule]

# In explorer's own models a layer is split by its outputs and the next by its inputs, so
# that activations meet once a pair. Vectors that no split layer needs are on all devices:
# they cost more to gather than to keep.
DEFAULT_RULES: Rules = (
    Rule(("tensor", "fsdp"), role="embedding"),
    Rule(("tensor", "fsdp"), glob="**/attention/out/kernel"),
    Rule(("tensor", "fsdp"), glob="**/down_proj/kernel"),
    *(
        rule
        for layer in (
            *(f"attention/{name}" for name in ("query", "key", "value", "query_up")),
            "attention/latent_up",
            "gate_proj",
            "up_proj",
            "lm_head",
        )
        for rule in (
            Rule(("fsdp", "tensor"), glob=f"**/{layer}/kernel"),
            Rule(("tensor",), glob=f"**/{layer}/bias"),
        )
    ),
    Rule((), role="bias"),
    Rule((), role="scale"),
)


def names_in(entry: Entry) -> tuple[str, ...]:
    """Return the mesh axes that one entry of a spec names.

    >>> names_in(("data", "fsdp")), names_in("tensor"), names_in(None)
    (('data', 'fsdp'), ('tensor',), ())
    """
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else entry
