"""Packed weights of a source decoded before they are changed, and said so; or refused."""

from explorer.conversion.values import ValueSource
from explorer.document.words import counted
from explorer.errors import InputError
from explorer.packed.missing import check_companions

__all__ = ["dequantised_notes"]


def dequantised_notes(source: ValueSource, config: object = None) -> tuple[str, ...]:
    """Decode a source's packed weights, and return what is to be said of that; GGUF's stay.

    Args:
        source: whose they are.
        config: the `quantization_config`, where it is known.

    Raises:
        InputError: some are of a layout that is not decoded, or their scales are missing.
    """
    if source.format.startswith("gguf"):
        return ()
    number = source.decode()
    tensors = source.side.tensors
    keys = {source.name(key): key for key in tensors}
    check_companions(
        [*keys],
        [tensors[key].dtype for key in keys.values()],
        config,
        source.side.place,
        {name for name, key in keys.items() if key not in source.side.made},
    )
    left = source.side.undecoded() or len(source.side.scaled.keys() - _decoded(source))
    if left:
        raise InputError(
            source.side.place,
            found=f"holds {counted(left, 'packed weight')} of a layout that is not decoded",
            expected="weights in float formats, or packed in a known layout",
            cure="start from the original",
        )
    if not number:
        return ()
    return (
        f"{counted(number, 'packed weight')} of {source.side.place} dequantised; "
        "`explorer quantize` stores what is written in few bits again",
    )


def _decoded(source: ValueSource) -> set:
    return {key for each in source.side.made.values() for key in each.keys}
