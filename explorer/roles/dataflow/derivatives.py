"""The gradient of a function with a custom derivative rule."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import Jaxpr, Literal

from explorer.roles.dataflow.layouts import function_of, inner_of
from explorer.roles.dataflow.sources import is_of_library
from explorer.roles.dataflow.values import is_inexact

__all__ = ["backward_of"]


def backward_of(eqn: Any) -> Any:
    """Return the jaxpr of a custom rule: operands and gradients of results -> gradients of
    operands, without Literals.

    None if the rule is a library's derivative of a smooth function (`jax.nn.relu`), or cannot
    be traced without its context (a device mesh).
    """
    if eqn.primitive.name == "custom_jvp_call" and is_of_library(_file_of(eqn)):
        return None
    operands = [var for var in eqn.invars if type(var) is not Literal]
    nameless = {
        "arg_names": ("",) * len(operands),
        "result_paths": ("",) * len(eqn.outvars),
    }
    alone = Jaxpr(
        constvars=(),
        invars=operands,
        outvars=eqn.outvars,
        eqns=[eqn],
        debug_info=inner_of(eqn)[0].debug_info._replace(**nameless),
    )
    call = function_of(alone)

    def backward(operands: Sequence[Any], gradients: Sequence[Any]) -> Any:
        return jax.vjp(call, *operands)[1](list(gradients))

    primals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in operands]
    try:
        return jax.make_jaxpr(backward)(primals, list(map(_gradient, eqn.outvars))).jaxpr
    except Exception:  # the user's rule may raise anything without its context
        return None


def _gradient(var: Any) -> jax.ShapeDtypeStruct:
    dtype = var.aval.dtype if is_inexact(var) else jax.dtypes.float0
    return jax.ShapeDtypeStruct(var.aval.shape, dtype)


def _file_of(eqn: Any) -> str:
    """Return the file that defines the function."""
    return str(inner_of(eqn)[0].debug_info.func_src_info).rpartition(" at ")[2]
