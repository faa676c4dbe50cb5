"""Parameters -> the same with zeros, or fewer: what `explorer.prune` and its plan return."""

import os
from typing import TYPE_CHECKING, Any

from explorer.arguments import check_kinds
from explorer.errors import (
    InputError,
    check_type,
)
from explorer.targets import resolve
from explorer.targets.records import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.targets.records import Target
    from explorer.transforms.evaluation import Evaluator
    from explorer.transforms.pruning.patterns import Method, PruneSettings, Scope
    from explorer.transforms.records import Change
    from explorer.tree.types import PyTree

    Progress = tuple[Callable[[int], Any], Callable[[int], Any]]

__all__ = [
    "can_stream",
    "plan_pruning",
    "prune",
    "prune_file",
    "prune_masks",
]


def prune(
    target: Any,
    pattern: str,
    by: "Method" = "magnitude",
    scope: "Scope | None" = None,
    *,
    model: Any = None,
    data: Any = None,
    gradients: Any = None,
    select: str | None = None,
    seed: int = 0,
    evaluate: "Evaluator | None" = None,
) -> "tuple[Any, Change]":
    """Return parameters with zeros in the kernels of linear layers, and what changed.

    Exactly the share of the pattern becomes zero, rounded down in each matrix, or in each output
    or over all of them as `scope` says; of equal scores the first entries are pruned.

    Args:
        target: a pytree or module that holds arrays, or a checkpoint, whose arrays come as the
            nested dict that `load` returns.
        pattern: "0.5", any half of the entries; "2:4", two of each four inputs of an output are
            kept; "rows:0.25", "columns:0.25", whole outputs or inputs.
        by: the score of an entry, of which the lowest are pruned: "magnitude", |w|; "wanda", |w|
            times the norm of its input on data; "sparsegpt", the error of the layer's outputs,
            which the remaining weights correct; "movement", -w times its gradient; "random".
        scope: which entries are compared: those of a "tensor", of all of them ("global"), or of
            an output ("group", of Wanda where it is None).
        model: the Linen module of the parameters, where data are needed; a checkpoint has its own.
        data: token ids [batch, length] or batches of them, as `gather_moments` takes them; for
            "wanda" and "sparsegpt". Layers of explorer's own models are pruned one by one, each
            on what the pruned ones before it give.
        gradients: of the loss, a tree like the parameters; for "movement".
        select: a glob over tensors; None for all kernels but routers, heads and embeddings.
        seed: of "random".
        evaluate: tokens on which the model of a tree is measured before and after.

    Returns:
        The pruned target and the record of what changed.

    Raises:
        InputError: as `explore`; also an unknown pattern or word, NaN in a kernel, n:m groups that
            do not divide the inputs, or no kernel at all.

    >>> import numpy as np
    >>> params = {"dense": {"kernel": np.array([[4.0, 1.0], [3.0, 2.0]], "float32")}}
    >>> pruned, change = prune(params, "0.5")
    >>> pruned["dense"]["kernel"].tolist(), change.tensors[0].zeros
    ([[4.0, 0.0], [3.0, 0.0]], 2)
    """
    from explorer.targets.pruning import PruneInputs, prune_target
    from explorer.transforms.pruning.patterns import settings_of

    settings = settings_of(pattern, by, scope, seed)
    check_kinds(("select", select, "a str or None"))
    if evaluate is not None:
        from explorer.transforms.evaluation import Evaluator

        check_type("evaluate", evaluate, Evaluator, "an Evaluator")
    inputs = PruneInputs(model, data, gradients)
    found = resolve(target)
    result, change = prune_target(found, _name_of(target), settings, select, inputs)
    if evaluate is None:
        return result, change
    if not isinstance(found, Tree):
        raise InputError(
            "evaluate",
            found="a checkpoint, whose arrays are not a module's parameters",
            expected="the parameters that load_pretrained returns",
        )
    from msgspec.structs import replace

    return result, replace(change, evaluation=evaluate.compare(found.value, result))


def prune_file(
    target: Any,
    pattern: str,
    path: "str | os.PathLike",
    by: "Method" = "magnitude",
    scope: "Scope | None" = None,
    *,
    select: str | None = None,
    seed: int = 0,
    progress: "Progress | None" = None,
) -> "Change":
    """Write a target with zeros in the kernels of its linear layers, a tensor at a time.

    The file is the one that `save` writes of what `prune` returns.

    Args:
        target: a checkpoint, or parameters.
        pattern, scope, select, seed: as for `prune`.
        path: of the new file or folder.
        by: "magnitude" or "random", which need nothing beside the weights.
        progress: as for `save`.

    Raises:
        InputError: as `prune` and `save`; also a method that needs more, or a pattern that
            removes units of the model.
    """
    from explorer.conversion.pruning import prune_to_file
    from explorer.conversion.settings import SaveSettings
    from explorer.transforms.pruning.patterns import settings_of

    settings, found = settings_of(pattern, by, scope, seed), resolve(target)
    if not _is_streamed(found, settings):
        raise InputError(
            "prune_file()",
            found=f"{settings.pattern.text} by {by} is not done a tensor at a time",
            expected="zeros by magnitude or at random",
            cure="save(prune(target, ...)[0], path)",
        )
    total, done = progress or (None, None)
    saving = SaveSettings(total=total, done=done)
    name = _name_of(target)
    return prune_to_file(found, os.fspath(path), settings, select, saving, name)


def can_stream(
    target: Any, pattern: str, by: "Method", scope: "Scope | None" = None, **given: Any
) -> bool:
    """Return whether `prune_file` does what `prune` would with these arguments.

    >>> can_stream({}, "2:4", "magnitude"), can_stream({}, "2:4", "wanda")
    (True, False)
    """
    from explorer.transforms.pruning.patterns import settings_of

    return _is_streamed(resolve(target), settings_of(pattern, by, scope))


def _is_streamed(target: "Target", settings: "PruneSettings") -> bool:
    from explorer.targets.shrinking import shrinks

    return settings.by in ("magnitude", "random") and not shrinks(target, settings)


def plan_pruning(
    target: Any,
    pattern: str,
    by: "Method" = "magnitude",
    scope: "Scope | None" = None,
    *,
    select: str | None = None,
) -> "Change":
    """Return what `prune` will change, from shapes alone: exact counts, nothing is read.

    Args:
        target: as for `explore`: a name or a config too.
        pattern, by, scope, select: as for `prune`.

    Raises:
        InputError: as `prune`.

    >>> change = plan_pruning("llama-3.1-8b", "2:4")
    >>> change.parameters_after, sum(each.zeros or 0 for each in change.tensors)
    (8030261248, 3489660928)
    """
    from explorer.targets.pruning import planned_change
    from explorer.transforms.pruning.patterns import settings_of

    settings = settings_of(pattern, by, scope)
    check_kinds(("select", select, "a str or None"))
    return planned_change(resolve(target), _name_of(target), settings, select)


def prune_masks(pruned: Any, change: "Change") -> "PyTree":
    """Return which entries of pruned kernels are kept, for `apply_masks`.

    Args:
        pruned, change: what `prune` returned for a tree.

    Returns:
        A tree like the pruned one: arrays of bool for kernels that were pruned, None for others.

    >>> import numpy as np
    >>> params = {"kernel": np.array([[4.0, 1.0], [3.0, 2.0]], "float32"), "bias": np.zeros(2)}
    >>> prune_masks(*prune(params, "0.5"))
    {'bias': None, 'kernel': Array([[ True, False],
           [ True, False]], dtype=bool)}
    """
    from explorer.targets.pruning import masks_of

    return masks_of(pruned, change)


def _name_of(target: Any) -> str:
    is_path = isinstance(target, str | os.PathLike)
    return os.fspath(target) if is_path else type(target).__name__
