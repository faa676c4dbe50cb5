"""A target -> the call that shows what its parameters do."""

from typing import TYPE_CHECKING

import msgspec

from explorer.errors import TreeError, check_number
from explorer.targets.records import ArchitectureTarget, Call, Checkpoint, Target, Tree

if TYPE_CHECKING:
    from explorer.architectures.resolve import ResolvedArchitecture

__all__ = ["call_of"]


def call_of(target: Target, length: int | None = None) -> Call:
    """Return the call that shows what the parameters of a target do.

    Args:
        target: what `resolve` returned.
        length: tokens of the sequence that an architecture is called on; None for 128.

    Raises:
        InputError: nothing says what to call, or on which inputs.

    >>> from explorer.targets import resolve
    >>> call_of(resolve("gpt2"), length=16).inputs
    (ShapeDtypeStruct(shape=(1, 16), dtype=int32),)
    """
    if length is not None:
        check_number("length", length)
        if length < 1:
            raise TreeError("length", found=str(length), expected="1 or more tokens")
    match target:
        case Call():
            return target
        case ArchitectureTarget(known):
            return _call_of_architecture(known, length)
        case Checkpoint():
            from explorer.targets.checkpoints import architecture_beside

            return _call_of_architecture(architecture_beside(target), length)
        case Tree(value=tuple() as value) if value and callable(value[0]):
            from explorer.objects.calls import call_of_function

            return call_of_function(value)
    value = target.value if isinstance(target, Tree) else target
    raise TreeError(
        type(value).__name__,
        found="cannot be called: nothing says on which inputs",
        expected="(module, *inputs) or (fn, params, inputs), a function that returns one, "
        "or the name or config of an architecture",
    )


def _call_of_architecture(known: "ResolvedArchitecture", length: int | None) -> Call:
    from explorer.models.example import example_of
    from explorer.objects.linen import call_of_linen

    call = call_of_linen(*example_of(known.architecture, length))
    name = known.name or known.architecture.family
    return msgspec.structs.replace(call, name=name)
