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
    """One operation in which a parameter, or a function of it, meets data.

    `operand` is its position among the operation's inputs. `times` is how often one call
    executes it, scans and devices multiplied out; None inside a loop of unknown length.
    `macs` are the multiply-adds of all those times, in contractions (once, where the times
    are unknown); where several parameters make up the operand (`W + a @ b`), each has its
    share by size. `source` is a line of user code. `rows` is, for experts computed sparsely,
    how many rows of data are contracted with one expert each; 0 elsewhere. Of manner
    "composed" is a contraction with parameters alone, which is work and decides no role.
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
    reaches it. `tied` marks an embedding that is a projection as well, `shared_with` names
    the other leaves that are the same array: they have one role and the same uses.
    """

    role: Role
    uses: tuple[Use, ...]
    reached: bool
    differentiable: bool
    tied: bool = False
    shared_with: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-adds of contractions with it, in one call."""
        return sum(use.macs for use in self.uses)
