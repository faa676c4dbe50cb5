"""Rules that map the axes of a tensor to those of a mesh, by role, component or path.

They are about names, shapes and sizes alone, without JAX: training places its state by them,
and sizing says beforehand what each device will hold.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from explorer.errors import InputError, printable, shown
from explorer.paths import name_of
from explorer.roles.names import classify
from explorer.training.sharding.rule import Entry, Path, Rule, Rules, Spec, names_in

__all__ = ["DEFAULT_RULES", "deciding_rule", "followed", "rules_for", "spec_for"]

# In explorer's own models a layer is split by its outputs and the next by its inputs, so
# that activations meet once a pair. Vectors that no split layer needs are on all devices:
# they cost more to gather than to keep.
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
        InputError: something is not a rule; or a rule that is not a default one names an axis
            that the mesh lacks, or fits no parameter, as one that is misspelt does.
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
        if not any(rule is default for default in DEFAULT_RULES):
            _check_axes(rule, axes)
        may_fit_nothing = rule in DEFAULT_RULES or not leaves
        if not may_fit_nothing and not any(rule.fits(*leaf) for leaf in leaves):
            raise _unused(rule, leaves)
    return tuple(several)


def spec_for(
    path: Path, shape: tuple[int, ...], sizes: Mapping[str, int], rules: Rules
) -> Spec:
    """Return how a parameter is placed: by the first rule that fits it, or its largest axis.

    An axis that the mesh lacks splits nothing.

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
    for name in (name for entry in rule.spec for name in names_in(entry)):
        if name not in axes:
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
