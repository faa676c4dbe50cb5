"""Models by name or config: their modules, and what each of their parameters does."""

from typing import TYPE_CHECKING, Any

from explorer.errors import TreeError, shown
from explorer.targets import call_of, resolve
from explorer.targets.inventories import (
    architecture_of,
)

if TYPE_CHECKING:
    from explorer.models.transformer import Transformer
    from explorer.roles.report import RoleReport
    from explorer.tree.types import Params, PyTree

__all__ = [
    "audit_roles",
    "build_model",
    "report_roles",
]


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
    except (TypeError, ValueError, RuntimeError, AttributeError):  # as NumPy and JAX say it
        is_float = False
    if not is_float:
        raise TreeError(
            place,
            found=shown(given, 60),
            expected="a floating-point dtype such as bfloat16 or float32",
        )
