"""Parameters -> parameters, with a record of what changed: the transforms."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from explorer.errors import InputError, check_type
from explorer.targets import resolve
from explorer.targets.records import Checkpoint, Tree

if TYPE_CHECKING:
    from explorer.transforms.evaluation import Evaluator
    from explorer.transforms.records import Change
    from explorer.tree.types import Params

__all__ = ["arrays_in", "combine_models", "evaluated", "factorize"]


def combine_models(
    models: Sequence[Any],
    method: str = "average",
    *,
    base: Any = None,
    weights: Sequence[float] | float | None = None,
    density: float = 0.5,
    scale: float = 1.0,
    seed: int = 0,
    evaluate: "Evaluator | None" = None,
) -> "tuple[Params, Change]":
    """Return one model from several of one architecture, and how far it is from the first.

    Args:
        models: checkpoints, or trees of arrays of one structure.
        method: "average"; "slerp", the arc between two; with a base "task_arithmetic", "ties"
            (trim, elect a sign, mean of those that agree) or "dare" (drop at random, rescale).
        base: what the models were trained from; the distance is then from it.
        weights: a number for each model; of slerp the share of the way to the second.
        density: the share of each model's changes that ties and dare keep.
        scale: what the combined changes are multiplied by.
        seed: of what dare drops.
        evaluate: tokens on which the base, or the first model, and the result are measured.

    Raises:
        InputError: as `load`; also an unknown method, a base that is missing or not used, numbers
            out of range, or models that do not fit each other.

    >>> import numpy as np
    >>> models = [{"kernel": np.array([0.0, 2.0])}, {"kernel": np.array([2.0, 2.0])}]
    >>> tree, change = combine_models(models)
    >>> tree["kernel"], change.tensors[0].max_abs
    (array([1., 2.]), 1.0)
    """
    from explorer.transforms.combining.combine import combine_trees, mixing_of

    check_type("models", models, (list, tuple), "a list of checkpoints or trees")
    mixing = mixing_of(method, len(models), base, weights, density, scale, seed)
    trees = [arrays_in(model) for model in models]
    anchor = None if base is None else arrays_in(base)
    found, change = combine_trees(trees, anchor, mixing, f"{len(models)} models")
    return found, evaluated(change, trees[0] if anchor is None else anchor, found, evaluate)


def factorize(
    params: Any,
    rank: int | None = None,
    *,
    energy: float | None = None,
    select: str | None = None,
    evaluate: "Evaluator | None" = None,
) -> "tuple[Params, Change]":
    """Return parameters whose kernels are products of two thinner ones, and what that changes.

    Truncated singular value decompositions: no matrix of that rank is nearer. Kernels become
    `Factors`, a pytree that is trained and counted as it is; `transforms.low_rank.expand`
    multiplies them out.

    Args:
        params: a checkpoint, or a tree of arrays.
        rank: of every kernel; or instead
        energy: the share of a kernel's squared L2 norm to keep: each has the rank it needs.
        select: a glob over paths; None for every kernel of a linear layer.
        evaluate: tokens on which the model is measured before and after.

    Raises:
        InputError: as `load`; also neither or both of rank and energy, one out of range, a kernel
            with NaN or infinities, or nothing that matches.

    >>> import numpy as np
    >>> kernel = np.outer(np.arange(1, 9), np.arange(1, 7)).astype("float32")
    >>> tree, change = factorize({"mlp": {"kernel": kernel}}, rank=1)
    >>> change.parameters_before, change.parameters_after
    (48, 14)
    """
    from explorer.transforms.low_rank import expand, factorise

    tree = arrays_in(params)
    found, change = factorise(tree, rank, energy, select, _name_of(params))
    if evaluate is None:
        return found, change
    return found, evaluated(change, tree, expand(found), evaluate)


def arrays_in(target: Any) -> "Params":
    """Return the arrays of a checkpoint as a nested dict; a tree as it is."""
    match resolve(target):
        case Checkpoint(path):
            from explorer.packed.loading import load_dequantised

            return load_dequantised(path)
        case Tree() as tree:
            return tree.value
    raise InputError(
        _name_of(target),
        found="has shapes and no values",
        expected="a checkpoint, or a tree of arrays",
    )


def _name_of(target: Any) -> str:
    return target if isinstance(target, str) else type(target).__name__


def evaluated(
    change: "Change", before: "Params", after: "Params", evaluate: "Evaluator | None"
) -> "Change":
    """Return a change with what a model loses on tokens; as it is where there are none."""
    if evaluate is None:
        return change
    from msgspec.structs import replace

    from explorer.transforms.evaluation import Evaluator

    check_type("evaluate", evaluate, Evaluator, "an Evaluator of a model and tokens")
    return replace(change, evaluation=evaluate.compare(before, after))
