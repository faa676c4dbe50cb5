"""A target -> the same one pruned: its tensors, which of them are kernels, and their new values."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.errors import (
    InputError,
    check_type,
)
from explorer.paths import name_of
from explorer.targets.inventories import inventory_of
from explorer.targets.kernels import views_of
from explorer.targets.lazy import lazy_tensors
from explorer.targets.records import Checkpoint, Target, Tree
from explorer.targets.shrinking import planned_shrinking, shrink_checkpoint, shrinks
from explorer.transforms.pruning.matrices import MatrixView
from explorer.transforms.pruning.patterns import PruneSettings
from explorer.transforms.pruning.planning import planned_tensors
from explorer.transforms.pruning.recording import change_of
from explorer.transforms.records import Change

if TYPE_CHECKING:
    from explorer.transforms.pruning.kernels import Evidence, Prunable, PrunedTensor

__all__ = ["PruneInputs", "masks_of", "planned_change", "prune_target"]

_CALIBRATED = ("wanda", "sparsegpt")


class PruneInputs(NamedTuple):
    """What methods need beside the weights: a module, data to call it on, gradients."""

    model: Any = None
    data: Any = None
    gradients: Any = None


def prune_target(
    target: Target,
    name: str,
    settings: PruneSettings,
    select: str | None,
    given: PruneInputs,
) -> tuple[Any, Change]:
    """Return a target with zeros in its kernels, and what changed; see `explorer.prune`.

    Args:
        target: a tree of arrays, or a checkpoint, whose arrays come as a nested dict.
        name: what the record calls it.
        settings: what is pruned.
        select: a glob over the tensors to prune; None for the kernels of linear layers, heads
            and routers left out.
        given: what the method needs.

    Raises:
        InputError: as `prune_tensors`; also no kernel that is selected.
    """
    if not (isinstance(target, Checkpoint) and _has_scales(target)):
        return _pruned(target, name, settings, select, given)
    from msgspec.structs import replace

    from explorer.packed.loading import load_dequantised

    arrays: Target = target  # which those that shrink or calibrate read themselves
    if not (shrinks(target, settings) or settings.by in _CALIBRATED):
        arrays = Tree(load_dequantised(target.path), name)
    found, change = _pruned(arrays, name, settings, select, given)
    note = "packed weights dequantised; `explorer quantize` stores the result in few bits"
    return found, replace(change, notes=(*change.notes, note))


def _has_scales(target: Checkpoint) -> bool:
    kinds = inventory_of(target).columns.kinds
    return any(kind.collection == "quantization" for kind in kinds)


def _pruned(
    target: Target,
    name: str,
    settings: PruneSettings,
    select: str | None,
    given: PruneInputs,
) -> tuple[Any, Change]:
    if shrinks(target, settings):
        return shrink_checkpoint(target, name, settings, given.data)
    if settings.by in _CALIBRATED:
        return _calibrated(target, name, settings, select, given)
    from explorer.transforms.pruning.kernels import prune_tensors

    evidence = _evidence_of(settings, given.gradients)
    views = views_of(target, name, select)
    found = list(prune_tensors(lambda: _tensors(target, views), settings, evidence))
    change = change_of(name, settings, [each.change for each in found], views)
    if isinstance(target, Checkpoint):
        return _nested(
            {each.tensor.name.replace("/", "."): each.values for each in found}
        ), change
    assert isinstance(target, Tree)
    return _replaced(target.value, found), change


def _calibrated(
    target: Target,
    name: str,
    settings: PruneSettings,
    select: str | None,
    given: PruneInputs,
) -> tuple[Any, Change]:
    """Return a target pruned by what flows through its model."""
    from explorer.transforms.pruning.calibrated import prune_calibrated

    if given.data is None:
        raise InputError(
            "by",
            found=f"{settings.by!r} without calibration data",
            expected="data=, token ids [batch, length] or batches of them",
            cure="prune by magnitude, which needs none",
        )
    if isinstance(target, Checkpoint):
        from explorer.pretrained.loading import config_of, load_pretrained
        from explorer.pretrained.saving import to_checkpoint

        model, params = load_pretrained(target.path)
        own = Tree(params, name)
        pruned, change = _calibrated(
            own, name, settings, select, given._replace(model=model)
        )
        return _nested(to_checkpoint(pruned, config_of(target.path))), change
    if not isinstance(target, Tree) or not isinstance(target.value, Mapping):
        raise InputError(name, found="is not a nested dict", expected="a module's params")
    if given.model is None:
        raise InputError(
            "by",
            found=f"{settings.by!r} without the module of these parameters",
            expected="model=, a Linen module such as load_pretrained returns",
        )
    views = views_of(target, name, select)
    around = "params/" if "params" in target.value else ""
    params = target.value["params"] if around else target.value
    tensors = [
        each._replace(name=each.name.removeprefix(around))
        for each in _tensors(target, views)
        if each.name.startswith(around)
    ]
    found = list(prune_calibrated(given.model, params, given.data, settings, tensors))
    changes = [each.change for each in found]
    own_views = {each.name: each.view for each in tensors if each.view is not None}
    return _replaced(target.value, found), change_of(name, settings, changes, own_views)


def planned_change(
    target: Target, name: str, settings: PruneSettings, select: str | None
) -> Change:
    """Return what pruning will change; see `explorer.plan_pruning`."""
    if shrinks(target, settings):
        return planned_shrinking(target, name, settings)
    views = views_of(target, name, select)
    tensors = planned_tensors(inventory_of(target), views, settings.pattern, settings.scope)
    return change_of(name, settings, tensors, views)


def _evidence_of(settings: PruneSettings, gradients: Any) -> "Evidence":
    from explorer.transforms.pruning.kernels import Evidence

    if settings.by != "movement":
        return Evidence()
    if gradients is None:
        raise InputError(
            "by",
            found="'movement' without gradients",
            expected="gradients=, a tree like the parameters",
        )
    from explorer.objects.pytree import arrays_of

    return Evidence(gradients={name_of(key): leaf for key, leaf in arrays_of(gradients)})


def _tensors(target: Target, views: Mapping[str, MatrixView]) -> "Iterator[Prunable]":
    """Yield the tensors of a target, each with its view if it is to be pruned."""
    from explorer.transforms.pruning.kernels import Prunable

    for each in lazy_tensors(target):
        yield Prunable(each.name, each.kind, views.get(each.name), each.load)


def _nested(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return named arrays as the nested dict that `explorer.load` returns."""
    from explorer.tree.nest import nest

    return nest({tuple(name.split(".")): array for name, array in tensors.items()})


def _replaced(tree: Any, found: "list[PrunedTensor]") -> Any:
    """Return a tree with pruned leaves in the place of its own; the same kind of array."""
    import jax

    after: dict[int, Any] = {}
    for each in found:
        if each.change.zeros is not None:
            before = each.tensor.load()
            is_jax = isinstance(before, jax.Array)
            after[id(before)] = (
                jax.device_put(each.values, before.sharding) if is_jax else each.values
            )
    nnx_parts = _split(tree)
    if nnx_parts is not None:
        from flax import nnx

        graph, state = nnx_parts
        return nnx.merge(graph, _mapped(state, after))
    return _mapped(tree, after)


def _mapped(tree: Any, after: dict[int, Any]) -> Any:
    import jax

    return jax.tree.map(lambda leaf: after.get(id(leaf), leaf), tree)


def _split(tree: Any) -> tuple[Any, Any] | None:
    """Return the graph and the state of an NNX module; None for other trees."""
    from explorer.objects.frameworks import framework_of, is_instance

    if framework_of(tree) != "nnx" or not is_instance(tree, "flax.nnx", "Module"):
        return None
    from flax import nnx

    return nnx.split(tree)


def masks_of(pruned: Any, change: Change) -> Any:
    """Return a tree of which entries of pruned kernels are kept; see `explorer.prune_masks`."""
    import jax
    import jax.numpy as jnp

    from explorer.objects.pytree import arrays_of
    from explorer.transforms.records import Change
    from explorer.tree.arrays import check_concrete

    check_type("change", change, Change, "what prune returned")
    check_concrete("pruned", pruned)
    names = {each.name for each in change.tensors if each.zeros is not None}
    kept = {id(leaf) for key, leaf in arrays_of(pruned) if name_of(key) in names}
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf) != 0 if id(leaf) in kept else None, pruned
    )
