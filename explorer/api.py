"""The public functions: each resolves its target once and calls one room."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.errors import InputError, TreeError, check_type, printable
from explorer.inventory.inventory import Inventory
from explorer.targets import as_path, call_of, resolve
from explorer.targets.inventories import (
    architecture_of,
    config_beside,
    inventory_of,
    known_architecture_of,
)

if TYPE_CHECKING:
    from explorer.analyses.comparison import Comparison
    from explorer.analyses.ledger import Ledger
    from explorer.analyses.summary import By, Summary
    from explorer.models.transformer import Transformer
    from explorer.roles.report import RoleReport
    from explorer.sizing.records import MemoryPlan, Workload
    from explorer.sizing.subject import Subject
    from explorer.sizing.sweep import Sweep
    from explorer.targets.pairs import Renamed
    from explorer.tree.types import Params, PyTree
    from explorer.values.differences import Difference
    from explorer.values.digest import Algorithm, Digests
    from explorer.values.records import Description, ValueCheck

__all__ = [
    "audit_roles",
    "build_model",
    "check_values",
    "compare",
    "count_bytes",
    "count_parameters",
    "count_tensors",
    "describe",
    "diff",
    "digest",
    "explore",
    "ledger",
    "load",
    "plan",
    "report_roles",
    "summarize",
    "sweep",
]


def explore(target: Any, *inputs: Any, like: Any = None, **kwargs: Any) -> Inventory:
    """Return what is in a model, from its structure alone.

    Args:
        target: a path, a catalogued name ("llama-2-70b") or `package.module:attribute` (a
            str or path-like); a Hugging Face config (a dict); any pytree of arrays or of
            shapes; a Linen module; an NNX, Equinox or Haiku model; a TrainState; an optax
            state; `(module, *inputs)` or `(fn, params, inputs)`. An Inventory is returned
            as it is.
        *inputs: example inputs of a module: arrays, or their shapes as
            `jax.ShapeDtypeStruct`s.
        like: the model that a file was saved from, live or abstract, as a target: its types
            (Param, BatchStat, an optimizer's state, collections) and its roles are read for
            the tensors of the same name and shape, and remarks say what does not fit.
        **kwargs: keyword arguments of the module's call.

    Raises:
        InputError: or the subclass that fits (see explorer.errors); one line says what is
            wrong, where, and what would be right.

    >>> import numpy as np
    >>> explore({"dense": {"kernel": np.ones((4, 3), "float32"), "bias": np.ones(3, "float32")}})
    Inventory(pytree: 2 tensors, 15 parameters, 12 weights, 3 biases)
    """
    inventory = inventory_of(resolve(target, *inputs, **kwargs))
    if like is None:
        return inventory
    from explorer.identify.like import typed_like

    return typed_like(inventory, inventory_of(resolve(like)))


def count_tensors(target: Any, *inputs: Any, **kwargs: Any) -> int:
    """Return how many tensors (leaves, or named arrays of a file) a target has.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> count_tensors({"kernel": [[0.0, 0.0]]})
    2
    """
    return explore(target, *inputs, **kwargs).num_tensors


def count_parameters(target: Any, *inputs: Any, **kwargs: Any) -> int:
    """Return how many parameters (unique trainable scalars) a target has.

    Shared arrays count once; running statistics, integer arrays, optimizer state and every
    collection other than "params" are not counted.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> count_parameters({"kernel": [[0.0, 0.0]], "step": 3})
    2
    """
    return explore(target, *inputs, **kwargs).num_parameters


def count_bytes(target: Any, *inputs: Any, **kwargs: Any) -> int:
    """Return the bytes of a target's unique tensors, state included.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> count_bytes({"kernel": [[0.0, 0.0]]})
    8
    """
    return explore(target, *inputs, **kwargs).nbytes


def ledger(target: Any, *inputs: Any, **kwargs: Any) -> "Ledger":
    """Return every figure of a target with how it is known and what explains it.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> ledger({"params": {"kernel": [[0.0, 0.0]]}}).provenance["parameters"]
    'exact'
    """
    from explorer.analyses.ledger import ledger_of

    return ledger_of(explore(target, *inputs, **kwargs))


def summarize(
    target: Any, by: "By | Sequence[By]" = "component", depth: int = 1
) -> "Summary":
    """Return a target's totals by group; the groups add up to the total.

    Args:
        target: as for `explore`.
        by: role, component, module, dtype or collection; several make joint groups.
        depth: for modules, how many names of the path make one.

    Raises:
        InputError: as `explore`; also an unknown word in `by`, or a depth below 1.

    >>> found = summarize({"dense": {"bias": 0.0, "kernel": 0.0}, "head": 0.0}, by="module")
    >>> [(group.name, group.parameters) for group in found.groups]
    [('dense', 2), ('head', 1)]
    """
    from explorer.analyses import summary

    return summary.summarize(explore(target), by, depth)


def compare(a: Any, b: Any) -> "Comparison":
    """Return the structural differences of two targets: shapes and dtypes, never values.

    Args:
        a, b: as for `explore`.

    >>> compare({"kernel": [0.0]}, {"kernel": [0.0], "bias": [0.0]}).added[0].after
    'bias/0'
    """
    from explorer.analyses import comparison

    return comparison.compare(explore(a), explore(b))


def report_roles(
    target: Any, *inputs: Any, length: int | None = None, **kwargs: Any
) -> "RoleReport":
    """Return what each parameter of a model does, by its use, and how much work it is.

    Args:
        target: as for `explore`, if it can be called: an architecture (by name or config,
            called on one sequence or image), a module with inputs, or a tuple
            `(module, *inputs)` or `(fn, params, inputs)`.
        *inputs: example inputs of a module.
        length: tokens of an architecture's sequence; None for 128.
        **kwargs: keyword arguments of the module's call.

    Raises:
        InputError: as `explore`, or the target cannot be called with these inputs.

    >>> import jax.numpy as jnp
    >>> params = {"a": jnp.ones((3, 2)), "b": jnp.ones(2)}
    >>> report = report_roles((lambda p, x: x @ p["a"] + p["b"], params, (jnp.ones((5, 3)),)))
    >>> report.weights, report.biases, report.macs
    (6, 2, 30)
    """
    call = call_of(resolve(target, *inputs, **kwargs), length)
    from explorer.objects.parameters import is_parameter
    from explorer.roles.rows import report_of_call

    return report_of_call(call, is_parameter)


def audit_roles(roles: "PyTree", params: "Params", optimizer: Any = None) -> "RoleReport":
    """Return the report of roles that `trace_roles` found.

    Args:
        roles: the tree that it returned.
        params: the parameters that it was given: for shapes and names.
        optimizer: an optax transformation; a leaf whose update it sets to zero is frozen.

    Raises:
        TreeError: the two trees differ.
        InputError: the optimizer does not fit the parameters.

    >>> import jax.numpy as jnp
    >>> from explorer import trace_roles
    >>> params = {"gamma": jnp.ones(2), "dead": jnp.ones(3)}
    >>> audit = audit_roles(trace_roles(lambda p, x: x + p["gamma"], params, jnp.ones(2)), params)
    >>> audit.biases, audit.unused, audit.disagreements[0].by_name
    (2, ('dead',), 'scale')
    """
    from explorer.objects.parameters import is_parameter
    from explorer.roles.rows import report_of_roles

    return report_of_roles(roles, params, is_parameter, optimizer)


def build_model(
    target: Any, *, scan: bool = False, dtype: Any = None, param_dtype: Any = None
) -> "Transformer":
    """Return the Flax module of a named architecture or of a config; nothing is allocated.

    Other fields of the module are set by `clone`: `build_model("gpt2").clone(remat="full")`.

    Args:
        target: a catalogued name, a Hugging Face config, or a path of one.
        scan: whether equal layers are stacked and scanned: tracing then takes the same time
            for one layer and for a hundred.
        dtype: what to compute in; None for the dtype of the parameters.
        param_dtype: what `init` makes; None for the dtype of the published weights.

    Raises:
        InputError: as `explore`; also a target that has no architecture.

    >>> model = build_model("gpt2")
    >>> model.architecture.num_layers
    12
    """
    architecture = architecture_of(resolve(target))
    if architecture is None:
        raise TreeError(
            type(target).__name__,
            found="does not describe an architecture",
            expected="a name of `explorer catalog`, a config, or a path of one",
        )
    from explorer.models.transformer import Transformer

    for place, given in (("dtype", dtype), ("param_dtype", param_dtype)):
        _check_dtype(place, given)
    return Transformer(
        architecture, scan=scan, dtype=dtype, param_dtype=param_dtype or architecture.dtype
    )


def _check_dtype(place: str, given: Any) -> None:
    import jax.numpy as jnp

    try:
        is_float = given is None or jnp.issubdtype(jnp.dtype(given), jnp.floating)
    except (TypeError, ValueError):
        is_float = False
    if not is_float:
        raise TreeError(
            place,
            found=printable(repr(given), 60),
            expected="a floating-point dtype such as bfloat16 or float32",
        )


def describe(target: Any, select: str | None = None) -> "Description":
    """Return what the numbers of a target look like, tensor by tensor and in all.

    One pass reads each number once, in float64 quality: extremes, moments, zeros, NaN and
    infinities, quantiles and a histogram of magnitudes. Of a file no more is in memory than a
    few tensors; tied tensors are described once.

    Args:
        target: a checkpoint, or a pytree or module that holds arrays, as for `explore`.
        select: a glob over paths as of `Inventory.select`; None for all.

    Raises:
        InputError: as `explore`; also a target without values, or nothing that matches.

    >>> import numpy as np
    >>> found = describe({"kernel": np.array([[3.0, -4.0], [0.0, np.nan]], "float32")})
    >>> found.totals.l2, found.totals.zeros, found.tensors[0].statistics.first_nan
    (5.0, 1, 3)
    """
    from explorer.targets.values import values_of
    from explorer.values.describe import describe_arrays

    found = resolve(target)
    name = target if isinstance(target, str) else type(target).__name__
    return describe_arrays(name, values_of(found, select))


def check_values(target: Any, select: str | None = None) -> "ValueCheck":
    """Return what is wrong with the numbers of a target, and what is worth knowing of them.

    Wrong are NaN and infinities, kernels that are all zero or constant, and kernels that are
    the same as another one though nothing ties them; each finding names the tensor and where.

    Args:
        target, select: as for `describe`.

    Raises:
        InputError: as `describe`.

    >>> import numpy as np
    >>> found = check_values({"kernel": np.array([[1.0, np.inf]]), "bias": np.zeros(2)})
    >>> found.is_sound, [(each.tensor, each.kind) for each in found.findings]
    (False, [('kernel', 'inf'), ('bias', 'zero')])
    """
    from explorer.targets.values import values_of
    from explorer.values.checks import check_arrays

    name = target if isinstance(target, str) else type(target).__name__
    return check_arrays(name, values_of(resolve(target), select))


def diff(
    a: Any, b: Any, match: "Renamed | None" = None, rtol: float = 0.0, atol: float = 0.0
) -> "Difference":
    """Return what changed from the values of one target to those of another.

    Tensors belong together by name; else by the names and layouts of the model that a config or
    a GGUF file describes (Hugging Face, GGUF, explorer's own, layers stacked or not); else by the
    ends of their names. The verdict on each is the first of these that holds:

    - identical: every bit.
    - rounding: one side is the other, rounded to its format or to bfloat16 or float16.
    - quantized: one side holds for each number of the other the nearest one that its blocks
      can: within half a step, unless it is beyond them.
    - permuted: the same rows, or columns, in another order.
    - low_rank: the change is of a rank much smaller than its sides, up to rounding.
    - different; missing: only in `a`; added: only in `b`.

    Args:
        a, b: checkpoints, or pytrees or modules that hold arrays, as for `explore`.
        match: which tensor of `b` one of `a` is: names by names, each a tensor's or that of all
            below it; or a function from names to names, or to None.
        rtol, atol: tolerance: a number is beyond it if |b - a| > atol + rtol |a|. With neither,
            numbers of one format are compared by their bits.

    Raises:
        InputError: as `explore`; also a side without values, or one that changed while it was
            read.

    >>> import numpy as np
    >>> a = {"kernel": np.ones((2, 3), "float32"), "bias": np.zeros(3, "float32")}
    >>> b = {"kernel": a["kernel"].copy(), "bias": a["bias"]}
    >>> b["kernel"][1, 2] = 1.5
    >>> found = diff(a, b)
    >>> found.identical, [(each.name, each.verdict) for each in found.tensors]
    (False, [('kernel', 'different'), ('bias', 'identical')])
    >>> found.tensors[0].first_index, found.tensors[0].max_abs
    ((1, 2), 0.5)
    """
    from explorer.targets.comparing import difference_of_targets

    for place, value in (("rtol", rtol), ("atol", atol)):
        _check_tolerance(place, value)
    names = (_name_of_target(a), _name_of_target(b))
    return difference_of_targets(resolve(a), resolve(b), names, match, rtol, atol)


def _check_tolerance(place: str, value: Any) -> None:
    check_type(place, value, (int, float), "a number")
    if not 0 <= value < float("inf"):
        raise InputError(place, found=f"is {value}", expected="0 or more")


def _name_of_target(target: Any) -> str:
    return (
        os.fspath(target)
        if isinstance(target, str | os.PathLike)
        else type(target).__name__
    )


def digest(
    target: Any, select: str | None = None, algorithm: "Algorithm" = "xxh3_128"
) -> "Digests":
    """Return a hash of each tensor's content, which no format, order or sharding changes.

    Hashed are dtype, shape and the elements in row-major order, lowest byte first; of
    quantised blocks of GGUF, the blocks as stored. Printed, it is one line for each tensor.

    Args:
        target: a checkpoint, or a pytree or module that holds arrays, as for `explore`.
        select: a glob over paths as of `Inventory.select`; None for all.
        algorithm: "xxh3_128" finds every accidental change, at the speed of memory; "blake2b"
            is cryptographic: nobody can make other content of the same hash.

    Raises:
        InputError: as `diff`; also no such hash, or nothing that matches.

    >>> import numpy as np
    >>> print(digest({"bias": np.zeros(3, "float32")}))
    bf808b8f74547d8afb253cacd4709152  float32  3  bias
    """
    from explorer.targets.comparing import digests_of_target

    return digests_of_target(resolve(target), _name_of_target(target), select, algorithm)


def load(path: str | os.PathLike, select: str | None = None) -> "dict[str, Any]":
    """Return the values of a checkpoint as a nested dict of NumPy arrays.

    Arrays map the file where its format allows, so that only what is used is read.
    GGUF's block formats are dequantised to float32; other packed weights come as stored.

    Args:
        path: a file or folder that `explore` opens.
        select: a glob as of `Inventory.select`; None for all.

    Raises:
        InputError: as `explore`; also when nothing is selected, or when a tensor's path
            runs through another tensor.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/model.npz", bias=np.zeros(3), step=np.array(7))
    ...     load(f"{folder}/model.npz", select="bias")
    {'bias': array([0., 0., 0.])}
    """
    from explorer.formats.nested import load_tree

    return load_tree(as_path(path), select)


def plan(
    target: Any,
    *inputs: Any,
    workload: "Workload | None" = None,
    device: str | None = None,
    optimizer: Any = None,
    **settings: Any,
) -> "MemoryPlan":
    """Return what a model needs to run or to train, term by term, and what it fits.

    Args:
        target, *inputs: as for `explore`.
        workload: what the model is to do; None for inference of one sequence.
        device: a name of `explorer devices`, with a number ("h200:8"), or "here".
        optimizer: an optax transformation, whose state is measured from its own `init`; or
            the name of one.
        **settings: fields of the workload, over those of `workload` (`context=8192`), and of
            a `Variation` of the model (`layers=16`).

    Raises:
        InputError: as `explore`; also a setting, device, engine or scheme that does not exist.

    >>> found = plan("llama-2-7b", context=4096, dtype="float16")
    >>> {term.name: term.bytes for term in found.terms if term.is_exact}
    {'parameters': 13476831232, 'kv_cache': 2147483648}
    """
    subject = _subject(target, inputs)
    return _planner(subject, workload, device, optimizer)(settings)


def sweep(
    target: Any,
    axes: "Mapping[str, Sequence[Any]]",
    *inputs: Any,
    workload: "Workload | None" = None,
    device: str | None = None,
    optimizer: Any = None,
    **settings: Any,
) -> "Sweep":
    """Return a table of plans over every combination of settings.

    Args:
        target, workload, device, optimizer, **settings: as for `plan`.
        axes: the values of each setting that varies; "device" may be one. A number for
            "mesh" is every mesh of so many devices that suits the model.
        *inputs: as for `explore`.

    Raises:
        InputError: as `plan`; also no combination, or more than 10,000.

    >>> table = sweep("llama-2-7b", {"dtype": ["float32", "float16"], "batch": [1, 8]})
    >>> [row.terms["kv_cache"] // 2**20 for row in table.rows]
    [4096, 32768, 2048, 16384]
    """
    from explorer.sizing.sweep import sweep_of

    check_type("sweep", axes, Mapping, "a dict of settings and their values")
    subject = _subject(target, inputs)
    planned = _planner(subject, workload, device, optimizer)
    if isinstance(number := axes.get("mesh"), int):
        from explorer.sizing.meshes.table import suitable_meshes

        train = settings.get("train", workload is not None and workload.train)
        meshes = suitable_meshes(subject, number, train)
        axes = {**axes, "mesh": meshes}
    found = sweep_of(lambda combination: planned({**settings, **combination}), axes)
    return found.by_need() if isinstance(number, int) and len(axes) == 1 else found


def _planner(
    subject: "Subject", workload: Any, device: str | None, optimizer: Any
) -> "Callable[[dict[str, Any]], MemoryPlan]":
    """Return what plans a subject for settings."""
    from explorer.sizing.plan import plan_of
    from explorer.sizing.workloads import settings_of

    named: dict[str, Any] = {}
    if isinstance(optimizer, str):
        named, optimizer = {"optimizer": optimizer}, None

    def plan_for(settings: dict[str, Any]) -> "MemoryPlan":
        settings = named | settings
        where = settings.get("device", device)
        rest = {name: value for name, value in settings.items() if name != "device"}
        return plan_of(subject, *settings_of(workload, rest), where, optimizer)

    return plan_for


def _subject(target: Any, inputs: tuple[Any, ...]) -> "Subject":
    """Return what is sized: also a checkpoint whose config is of no family that is known."""
    from explorer.architectures.families import SUPPORTED
    from explorer.sizing.subject import Subject

    found = resolve(target, *inputs)
    inventory, config = inventory_of(found), config_beside(found)
    is_known = config is None or config.get("model_type") in SUPPORTED
    architecture = known_architecture_of(found) if is_known else None
    return Subject(inventory.target, inventory, architecture, config)
