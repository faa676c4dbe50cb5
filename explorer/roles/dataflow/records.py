"""What the forward pass does with a parameter."""

from typing import Literal

import msgspec

from explorer.inventory.tensor import Role

__all__ = ["Manner", "ParameterRole", "Use"]

Manner = Literal[
    "contracted",
    "multiplied",
    "added",
    "looked up",
    "placed",
    "composed",
    "returned",
    "opaque",
    "other",
]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One operation that combines a parameter, or a function of it, with data.

    `operand` is its position among the operation's inputs. `times` is how often one call
    executes it, with scans and devices multiplied out; None inside a loop of unknown length.
    `macs` are the multiply-adds of all those executions (of one, if their number is unknown);
    if several parameters make up the operand (`W + a @ b`), each has a share by size. `source`
    is a line of user code. `rows` says for sparsely computed experts how many rows of data are
    contracted with one expert each; 0 elsewhere. The manner "composed" is a contraction with
    parameters alone, which is work and decides no role.

    >>> use = Use(role="kernel", manner="contracted", primitive="dot_general", operand=1,
    ...           times=1, macs=30, source="model.py:3 (f)")
    >>> use.manner, use.macs
    ('contracted', 30)
    """

    role: Role
    manner: Manner
    primitive: str
    operand: int
    times: int | None
    macs: int
    source: str
    rows: int = 0


class ParameterRole(msgspec.Struct, frozen=True, kw_only=True):
    """What one parameter does, by every use of it.

    `reached` says whether an output depends on it, `differentiable` whether a gradient
    reaches it. `tied` marks an embedding that is an output projection too; `shared_with` names
    the other leaves that are the same array: they have one role and the same uses. `shape` is
    that of the array.

    >>> ParameterRole(role="bias", uses=(), reached=True, differentiable=True).macs
    0
    """

    role: Role
    uses: tuple[Use, ...]
    reached: bool
    differentiable: bool
    tied: bool = False
    shared_with: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None

    @property
    def macs(self) -> int:
        """Multiply-adds of contractions with it, in one call."""
        return sum(use.macs for use in self.uses)
