"""Parameters -> quantised ones, back, and what each tensor costs: `explorer.quantize` and its kin."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from explorer.api.transforms import arrays_in, evaluated
from explorer.errors import InputError, TreeError, check_type, printable
from explorer.inventory.selection import nothing_matches
from explorer.paths import name_of
from explorer.targets import resolve
from explorer.targets.records import Checkpoint, Tree
from explorer.targets.valueless import no_values

if TYPE_CHECKING:
    from explorer.targets.records import Target
    from explorer.transforms.calibration.settings import Calibration
    from explorer.transforms.evaluation import Evaluator
    from explorer.transforms.quantisation.selection import Selection
    from explorer.transforms.quantisation.trees import Quantiser
    from explorer.transforms.records import Change
    from explorer.transforms.sensitivity import Sensitivity

__all__ = ["dequantize", "quantize", "sensitivity"]


def quantize(
    target: Any,
    scheme: "str | Mapping[str, str]",
    select: str | None = None,
    *,
    model: Any = None,
    measure: bool = True,
    evaluate: "Evaluator | None" = None,
    calibrate: "Calibration | None" = None,
) -> "tuple[Any, Change]":
    """Return a model's weights quantised, and the record of what that changed.

    Kernels of linear layers are, and what else the scheme is for; all other tensors stay as they
    are. What is returned has the structure of the target, with `Quantized` in the places of arrays.

    Args:
        target: parameters, an NNX or Equinox module; or a checkpoint, of which a nested dict of
            NumPy arrays is made.
        scheme: its name with options: "int8", "int8:asym", "int4:g64:search", "nf4:double",
            "fp8:block", "mxfp4" ...; one of llama.cpp's mixes, "Q4_K_M", of a model whose layers
            are known; or a scheme for each tensor by name, as `Sensitivity.mix` has them.
        select: a glob over paths, of the matrices to quantise instead.
        model: the module of the parameters, by whose layers a mix chooses types; a checkpoint
            has its own.
        measure: whether the error of each tensor is measured.
        evaluate: tokens on which parameters are measured before and after.
        calibrate: a method (GPTQ, AWQ) and tokens, by which int4 and int8 in groups lose less than
            by rounding to the nearest; of one of explorer's own models. A checkpoint then comes
            as the parameters that `load_pretrained` returns.

    Returns:
        `(tree, change)`.

    Raises:
        InputError: an unknown scheme, a matrix that its groups do not divide, weights that are not
            finite or quantised already, or nothing to quantise.

    >>> import numpy as np
    >>> tree, change = quantize({"mlp": {"kernel": np.eye(128, dtype="float32")}}, "nf4")
    >>> tree["mlp"]["kernel"].shape, change.bits_after, change.relative_error
    ((128, 128), 4.5, 0.0)
    """
    from explorer.transforms.quantisation.trees import Quantiser

    if calibrate is not None:
        tree, change, before = _calibrated(
            target, scheme, select, model, measure, calibrate
        )
        return tree, evaluated(change, before, tree, evaluate)
    found = resolve(target)
    match found:
        case Checkpoint():
            quantiser = Quantiser(_selection(found, scheme, select, model), measure)
            tree, change = _of_checkpoint(found, quantiser)
            before, after = _as_evaluated(found, tree, scheme, select, evaluate)
        case Tree(before):
            from explorer.objects.pytree import arrays_of
            from explorer.transforms.quantisation.trees import quantise_tree

            quantiser = Quantiser(_selection(found, scheme, select, model), measure)
            tree, change = quantise_tree(before, arrays_of(before), quantiser)
            after = tree
        case _:
            raise no_values(found, "`explorer plan --quantize` says what it would take")
    return tree, evaluated(change, before, after, evaluate)


def _calibrated(
    target: Any,
    scheme: Any,
    select: str | None,
    model: Any,
    measure: bool,
    given: "Calibration",
) -> "tuple[Any, Change, Any]":
    """Return a model quantised as its calibration says, the record, and what it was before."""
    from explorer.objects.pytree import arrays_of
    from explorer.targets.inventories import inventory_of
    from explorer.transforms.calibration.schemes import calibrated
    from explorer.transforms.calibration.settings import check_calibration
    from explorer.transforms.quantisation.selection import Selection
    from explorer.transforms.quantisation.trees import Quantiser, quantise_tree

    calibration = check_calibration(given)
    _no_select(select, f"{calibration.method}, which calibrates all linear layers in order")
    found, name = resolve(target), ""
    if isinstance(found, Checkpoint):
        from explorer.pretrained.loading import load_pretrained

        name = found.path
        model, target = load_pretrained(found.path)
    elif not isinstance(found, Tree):
        raise TreeError(
            _name_of(target), found="has shapes and no values", expected="a model's weights"
        )
    wrapped = isinstance(target, Mapping) and set(target) == {"params"}
    params = target["params"] if wrapped else target
    made = calibrated(model, params, scheme, calibration)
    selection = Selection(inventory_of(Tree(made.params, name)), scheme)
    quantiser = Quantiser(selection, measure, made.kernels, (made.note,))
    tree, change = quantise_tree(made.params, arrays_of(made.params), quantiser)
    change = replace(change, transform=f"{change.transform} by {calibration.method}")
    return ({"params": tree} if wrapped else tree), change, target


def _of_checkpoint(found: Checkpoint, quantiser: "Quantiser") -> "tuple[Any, Change]":
    from explorer.targets.lazy import lazy_tensors
    from explorer.transforms.quantisation.trees import LoadedTensor, quantise_tensors

    tensors = (LoadedTensor(each.key, each.kind, each.load) for each in lazy_tensors(found))
    return quantise_tensors(tensors, quantiser)


def _as_evaluated(
    found: Checkpoint, tree: Any, scheme: Any, select: str | None, evaluate: Any
) -> tuple[Any, Any]:
    """Return a checkpoint's parameters before and after, as the model that is evaluated takes them."""
    if evaluate is None:
        return None, None
    if not hasattr(evaluate.model, "architecture") or select is not None:
        return arrays_in(found.path), tree
    from explorer.pretrained.loading import load_pretrained

    _, before = load_pretrained(found.path)
    after, _ = quantize(before, scheme, model=evaluate.model, measure=False)
    return before, after


def _selection(
    found: "Target", scheme: "str | Mapping[str, str]", select: str | None, model: Any
) -> "Selection":
    """Return which tensors are quantised, and how."""
    from explorer.sizing.weights.parsing import parse_scheme
    from explorer.targets.inventories import inventory_of
    from explorer.targets.mixes import is_mix, mix_of
    from explorer.transforms.quantisation.selection import NamedSelection, Selection

    inventory = inventory_of(found)
    if isinstance(scheme, Mapping):
        _no_select(select, "schemes of tensors by name")
        return NamedSelection(inventory, scheme, "by tensor")
    wanted = parse_scheme(scheme)
    if not is_mix(wanted):
        return Selection(inventory, scheme, select)
    _no_select(select, f"{wanted.name}, which chooses a type for each tensor")
    schemes = mix_of(found, getattr(model, "architecture", None), wanted)
    return NamedSelection(inventory, schemes, wanted.name)


def _no_select(select: str | None, what: str) -> None:
    if select is not None:
        raise InputError(
            "select",
            found=f"is {printable(repr(select), 60)}, with {what}",
            expected="one scheme for what it matches, such as Q4_K_M:pure",
        )


def sensitivity(
    params: Any,
    schemes: "Sequence[str]",
    *,
    evaluate: "Evaluator",
    select: str | None = None,
) -> "Sensitivity":
    """Return what quantising each tensor alone costs on data, the most expensive first.

    `mix(budget)` of the result proposes a scheme for each tensor within so many bytes, which
    `quantize(params, found.mix(budget).schemes)` applies.

    Args:
        params: parameters, as the model that is evaluated takes them.
        schemes: as for `quantize`: ["Q8_0", "Q4_K_M:pure", "nf4"].
        evaluate: the tokens on which the model is measured, twice for each tensor and scheme.
        select: a glob over paths, of the matrices to measure; None for those that each scheme
            is for.

    Raises:
        InputError: as `quantize`.

    >>> import jax.numpy as jnp, numpy as np, explorer as ex
    >>> params = {"mlp": {"kernel": np.random.default_rng(0).normal(size=(64, 64)).astype("float32")}}
    >>> evaluate = ex.Evaluator(lambda p, t: p["mlp"]["kernel"][t], np.arange(64).reshape(4, 16))
    >>> found = sensitivity(params, ["int8", "nf4"], evaluate=evaluate)
    >>> [(cost.scheme, cost.bytes) for cost in found.costs]
    [('nf4', 2304), ('int8', 4352), ('', 16384)]
    >>> found.mix(5000).schemes
    {'mlp/kernel': 'int8'}
    """
    from explorer.objects.pytree import arrays_of
    from explorer.targets.inventories import inventory_of
    from explorer.transforms.evaluation import Evaluator
    from explorer.transforms.quantisation.selection import Selection
    from explorer.transforms.quantisation.trees import round_trips
    from explorer.transforms.sensitivity import measure_sensitivity
    from explorer.tree.arrays import check_concrete

    check_type(
        "schemes", schemes, (list, tuple), "a list of schemes, such as ['Q8_0', 'nf4']"
    )
    check_type("evaluate", evaluate, Evaluator, "an Evaluator of a model and tokens")
    found = resolve(params)
    if not isinstance(found, Tree):
        raise TreeError(
            _name_of(params),
            found="is not a tree of parameters",
            expected="parameters, as load_pretrained returns them",
        )
    check_concrete("params", params)
    inventory, arrays = inventory_of(found), arrays_of(found.value)
    trips = {
        scheme: round_trips(arrays, Selection(inventory, scheme, select))
        for scheme in schemes
    }
    leaves = {
        name_of(key): leaf
        for key, leaf in arrays
        if any(name_of(key) in each for each in trips.values())
    }
    if not leaves:
        raise nothing_matches(
            found.name or "the parameters",
            select or "kernels",
            [name_of(key) for key, _ in arrays],
        )

    def rebuilt(new: Mapping[str, Any]) -> Any:
        import jax

        places = {id(leaves[name]): array for name, array in new.items()}
        return jax.tree.map(lambda leaf: places.get(id(leaf), leaf), found.value)

    functions = {
        scheme: lambda name, leaf, each=each: each[name](leaf) if name in each else None
        for scheme, each in trips.items()
    }
    return measure_sensitivity(leaves, rebuilt, functions, evaluate, found.name or "params")


def _name_of(target: Any) -> str:
    return target if isinstance(target, str) else type(target).__name__


def dequantize(tree: Any) -> Any:
    """Return a tree with plain arrays in the places of quantised ones, in their own dtypes.

    It can be called inside `jax.jit`, where the arrays exist only while they are used.

    Args:
        tree: any pytree with `Quantized`, or qwix's `QArray`, in it.

    >>> import numpy as np
    >>> tree, _ = quantize({"mlp": {"kernel": np.eye(128, dtype="float32")}}, "int8")
    >>> float(dequantize(tree)["mlp"]["kernel"].sum())
    128.0
    """
    from explorer.transforms.quantisation.trees import dequantise

    return dequantise(tree)
