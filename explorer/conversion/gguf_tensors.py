"""A model's parameters as the tensors of its GGUF file, as llama.cpp's converters make them."""

from explorer.architectures.architecture import Architecture
from explorer.architectures.rotary_factors import rope_factors
from explorer.conversion.models import ModelSource
from explorer.errors import InputError, printable
from explorer.formats.writing import OutgoingTensor
from explorer.sizing.weights.gguf_tensors import GgufTensor, is_quantised, stored_in_gguf

__all__ = ["gguf_outgoing"]

_FLOATS = ("float32", "float16", "bfloat16")


def gguf_outgoing(
    model: ModelSource, architecture: Architecture, dtype: str | None
) -> list[OutgoingTensor]:
    """Return the tensors of a model's GGUF file; norms, biases and small tables in float32.

    Args:
        model: where the parameters are.
        architecture: of the model.
        dtype: of its matrices; by default their own.

    Raises:
        InputError: the source lacks parameters, or llama.cpp has no such dtype or model.
    """
    if dtype is not None and dtype not in _FLOATS:
        raise InputError(
            "dtype",
            found=f"is {printable(dtype, 40)}",
            expected=f"{', '.join(_FLOATS)} for the matrices of a GGUF file",
            cure="explorer quantize writes block formats",
        )
    stored = dict(stored_in_gguf(architecture))
    model.check(stored)
    found = []
    for name, tensor in stored.items():
        wanted = "float32"
        if is_quantised(GgufTensor(name, tensor.shape, tensor.leaves)):
            wanted = dtype or model.dtype(tensor)
            wanted = wanted if wanted in _FLOATS else "float32"
        found.append(model.outgoing(name, tensor, wanted))
    for name, values in rope_factors(architecture).items():
        parts = lambda values=values: iter([values])  # noqa: E731
        found.append(OutgoingTensor(name, "float32", values.shape, parts))
    return found
