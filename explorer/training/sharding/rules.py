"""Rules that map the axes of a tensor to those of a mesh, by role, component or path.

They are about names, shapes and sizes alone, without JAX: training places its state by them,
and sizing says beforehand what each device will hold.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, get_args

import msgspec

from explorer.errors import InputError, printable, shown
from explorer.inventory.tensor import Component, Role
from explorer.paths import matches, name_of
from explorer.roles.names import classify

__all__ = [
    "DEFAULT_RULES",
    "Entry",
    "Rule",
    "Rules",
    "Spec",
    "deciding_rule",
    "followed",
    "names_in",
    "rules_for",
    "spec_for",
]

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


# In explorer's own models a layer is split by its outputs and the next by its inputs, so
# that activations meet once a pair. Vectors that no split layer needs are on all devices:
# they cost more to gather than to keep.
_OPTIONAL = "expert"  # an axis that a mesh has only where it is asked for
DEFAULT_RULES: Rules = (
    Rule(("tensor", "fsdp"), role="embedding"),
    *(
        Rule(("expert", *spec), glob=f"**/experts/{layer}")
        for layer, spec in (
            ("gate_proj/kernel", ("fsdp", "tensor")),
            ("up_proj/kernel", ("fsdp", "tensor")),
            ("down_proj/kernel", ("tensor", "fsdp")),
            ("gate_proj/bias", ("tensor",)),
            ("up_proj/bias", ("tensor",)),
            ("down_proj/bias", (None,)),
        )
    ),
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
    Rule((), glob="**/attention/sinks/sinks"),
    Rule((), role="bias"),
    Rule((), role="scale"),
)


def rules_for(
    rules: Any, axes: Sequence[str], leaves: Sequence[tuple[Path, tuple[int, ...]]]
) -> Rules:
    """Return the rules for some parameters; those by default if None.

    Args:
        rules: one or several.
        axes: of the mesh.
        leaves: paths and shapes of the parameters.

    Raises:
        InputError: something is not a rule; or a rule names an unknown axis, or, not being a
            default one, fits no parameter, as one that is misspelt does.
    """
    given = DEFAULT_RULES if rules is None else rules
    several = (given,) if isinstance(given, Rule) else given
    if not isinstance(several, Sequence) or not all(isinstance(r, Rule) for r in several):
        raise InputError(
            "the rules",
            found=shown(rules, 60),
            expected='one or several such as Rule(("fsdp", "tensor"), role="kernel")',
        )
    for rule in several:
        _check_axes(rule, axes)
        may_fit_nothing = rule in DEFAULT_RULES or not leaves
        if not may_fit_nothing and not any(rule.fits(*leaf) for leaf in leaves):
            raise _unused(rule, leaves)
    return tuple(several)


def spec_for(
    path: Path, shape: tuple[int, ...], sizes: Mapping[str, int], rules: Rules
) -> Spec:
    """Return how a parameter is placed: by the first rule that fits it, or its largest axis.

    Args:
        path: of the parameter.
        shape: of the parameter.
        sizes: of the axes of the mesh.
        rules: tried in order.

    Raises:
        InputError: a rule that is not a default has more axes than the parameter.

    >>> spec_for(("mlp", "up_proj", "kernel"), (8, 30), {"fsdp": 4, "tensor": 4}, DEFAULT_RULES)
    ('fsdp',)
    """
    rule = deciding_rule(path, shape, rules)
    if rule is None:
        return _divided(_largest(shape, sizes), shape, sizes)
    entries = (None,) * (len(shape) - len(rule.spec)) + rule.spec
    return _divided(entries, shape, sizes)


def deciding_rule(path: Path, shape: tuple[int, ...], rules: Rules) -> Rule | None:
    """Return the first rule that fits a parameter; None where its largest axis is split.

    Raises:
        InputError: a rule that is not a default has more axes than the parameter.
    """
    for rule in rules:
        if rule.fits(path, shape):
            if len(rule.spec) <= len(shape):
                return rule
            if rule not in DEFAULT_RULES:
                raise InputError(
                    name_of(path) or "the tree",
                    found=f"a rule of {len(rule.spec)} axes, {rule.spec}",
                    expected=f"at most {len(shape)}, as its shape {shape} has",
                )
    return None


def followed(
    path: Path,
    shape: tuple[int, ...],
    spec_of: Mapping[tuple[Path, tuple[int, ...]], Spec],
) -> Spec:
    """Return the spec of the parameter whose path a path ends in, or that of no axis.

    An optimizer's moments are placed so, as the parameter is whose shape they have.

    >>> followed(("mu", "up", "kernel"), (8, 8), {(("up", "kernel"), (8, 8)): ("fsdp",)})
    ('fsdp',)
    """
    ends = ((path[start:], shape) for start in range(len(path) + 1))
    return next((spec_of[end] for end in ends if end in spec_of), ())


def _largest(shape: tuple[int, ...], sizes: Mapping[str, int]) -> Spec:
    """Return entries with "fsdp" at the largest axis that it divides; vectors stay whole."""
    parts = sizes.get("fsdp", 1)
    fit = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if len(shape) < 2 or not fit:
        return ()
    largest = max(fit, key=lambda axis: shape[axis])
    return tuple("fsdp" if axis == largest else None for axis in range(len(shape)))


def _divided(entries: Spec, shape: tuple[int, ...], sizes: Mapping[str, int]) -> Spec:
    """Return entries as a spec, without axes of one device and those that do not divide."""
    kept: list[Entry] = []
    for entry, size in zip(entries, shape):
        names = tuple(name for name in names_in(entry) if sizes.get(name, 1) > 1)
        divides = size % prod(sizes[name] for name in names) == 0
        kept.append((names if names[1:] else names[0]) if names and divides else None)
    while kept and kept[-1] is None:
        kept.pop()
    return tuple(kept)


def _check_axes(rule: Rule, axes: Sequence[str]) -> None:
    optional = {_OPTIONAL} if rule in DEFAULT_RULES else ()
    for name in (name for entry in rule.spec for name in names_in(entry)):
        if name not in axes and name not in optional:
            raise InputError(
                "the rules",
                found=f"an axis {shown(name, 60)}",
                expected=f"one of the mesh's: {', '.join(axes)}",
            )


def _unused(rule: Rule, leaves: Sequence[tuple[Path, tuple[int, ...]]]) -> InputError:
    """Return what is to say of a rule that fits nothing."""
    if rule.glob is None:
        kinds = sorted({" of ".join(classify(path, shape)) for path, shape in leaves})
        wanted = f"a kind that there is: {printable(', '.join(kinds), 300)}"
    else:
        wanted = f"paths such as {printable(name_of(leaves[0][0]))}"
    return InputError(
        "the rules",
        found=f"{shown(rule, 200)} fits none of {len(leaves):,} parameters",
        expected=wanted,
        cure=_nearest(rule.glob or "", {name for path, _ in leaves for name in path}),
    )


def _nearest(glob: str, known: set[str]) -> str:
    """Return a question about the first name of a glob that is like one that there is."""
    for name in re.split("[/.]", glob[:200]):
        if name not in known and not set(name) & set("*?["):
            near = difflib.get_close_matches(name, sorted(known), 1)
            if near:
                return f"did you mean {printable(near[0], 60)}?"
    return ""
