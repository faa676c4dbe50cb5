"""Where operations keep their inner jaxprs, and which operands and results those have.

Everything here depends on the version of JAX.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jax.extend import core
from jax.extend.core import Jaxpr, jaxpr_as_fun

from explorer.roles.dataflow.contractions import named

__all__ = [
    "CALLS",
    "WITH_INNER",
    "Loop",
    "branches_of",
    "devices_of",
    "function_of",
    "inner_of",
    "open_jaxpr",
    "programs_in",
    "scan_of",
    "solve_of",
    "while_of",
]

# operations that call one jaxpr once
CALLS = named(
    """jit pjit closed_call core_call core_closed_call call named_call xla_call remat remat2
    checkpoint composite linear_call custom_vmap_call compute_on program_order
    xla_metadata_call"""
)
WITH_INNER = CALLS | named(
    "shard_map custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr"
)
# the parameter that holds it
_PROGRAMS = ("jaxpr", "call_jaxpr", "fun_jaxpr", "callee", "call")
# before JAX 0.12 another class holds a jaxpr with the values of its constants
_CLOSED: Any = getattr(core, "ClosedJaxpr", Jaxpr)


class Loop(NamedTuple):
    """A scan or a while loop.

    Attributes:
        body: the jaxpr of a step: constants, carry, rows -> carry, rows.
        consts: how many operands are the body's constants.
        carry: how many operands after them are carried.
        condition: the jaxpr that ends a while loop; its constants come first among the
            operands.
        condition_consts: how many those are.
    """

    body: Any
    consts: int
    carry: int
    condition: Any = None
    condition_consts: int = 0


def open_jaxpr(program: Any) -> Any:
    """Return a jaxpr without the values of its constants."""
    if _CLOSED is not Jaxpr and isinstance(program, _CLOSED):
        return program.jaxpr
    return program


def function_of(jaxpr: Any) -> Callable[..., Any]:
    """Return a jaxpr without constants as a function of its inputs."""
    return jaxpr_as_fun(jaxpr if _CLOSED is Jaxpr else _CLOSED(jaxpr, ()))


def inner_of(eqn: Any) -> tuple[Any, int]:
    """Return the jaxpr that an operation calls once, and how many of its first inputs are
    constants."""
    program = open_jaxpr(next(eqn.params[key] for key in _PROGRAMS if key in eqn.params))
    return program, len(program.invars) - len(eqn.invars)


def scan_of(eqn: Any) -> Loop:
    """Return the parts of a scan."""
    body = open_jaxpr(eqn.params["jaxpr"])
    if "ft_in" in eqn.params:
        consts, carry, _ = (len(list(part)) for part in eqn.params["ft_in"].unpack())
    else:
        consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
    return Loop(body, consts, carry)


def while_of(eqn: Any) -> Loop:
    """Return the parts of a while loop."""
    body, condition = (open_jaxpr(eqn.params[key]) for key in ("body_jaxpr", "cond_jaxpr"))
    consts, tested = eqn.params["body_nconsts"], eqn.params["cond_nconsts"]
    return Loop(body, consts, len(eqn.outvars), condition, tested)


def branches_of(eqn: Any) -> list[Any]:
    """Return the jaxprs of a conditional; its first operand selects one.

    Of those that compute the same on several platforms, it is the one for any other platform.
    """
    branches = list(map(open_jaxpr, eqn.params["branches"]))
    platforms = eqn.params.get("branches_platforms")
    return branches if platforms is None else branches[-1:]


def solve_of(eqn: Any) -> tuple[Any, slice, slice]:
    """Return the jaxpr that solves a `custom_linear_solve`, and the positions of that jaxpr's
    constants and of the right-hand sides among the operands."""
    lengths = eqn.params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    constants = slice(start, start + lengths.solve)
    return open_jaxpr(eqn.params["jaxprs"].solve), constants, slice(sum(lengths), None)


def devices_of(eqn: Any) -> int:
    """Return how many devices run the body of a `shard_map`."""
    sizes = dict(eqn.params["mesh"].shape)
    axes = eqn.params.get("newly_manual_axes", eqn.params.get("manual_axes"))
    devices = 1
    for axis in sizes if axes is None else axes:
        devices *= sizes[axis]
    return devices


def programs_in(eqn: Any) -> Iterator[Any]:
    """Yield every jaxpr inside an operation."""
    for param in eqn.params.values():
        for part in param if isinstance(param, tuple | list) else (param,):
            if isinstance(part, (Jaxpr, _CLOSED)):
                yield open_jaxpr(part)
