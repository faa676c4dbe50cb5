"""A tree with quantised leaves -> the tensors of a file, and the config that says how they are read."""

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.conversion.models import ModelSource
from explorer.conversion.plain import PlainSource, outgoing_inventory
from explorer.conversion.quantised_tensors import QuantisedTensor, check_type, in_layout
from explorer.errors import InputError, first_few
from explorer.formats.writing import OutgoingTensor
from explorer.paths import name_of
from explorer.targets.leaves import LeafPart

if TYPE_CHECKING:
    from explorer.transforms.quantisation.quantized import Quantized

__all__ = ["QuantisedFile", "plain_modules", "quantised_file"]

_FORMATS = ("safetensors", "gguf")


class QuantisedFile(NamedTuple):
    """What a file holds of a tree with quantised leaves.

    Attributes:
        tensors: in their order; of a quantised one all its parts.
        packing: the quantization_config; None where nothing is quantised, or in a GGUF file.
        notes: one line each.
        dtype: that a config must name; None for any.
    """

    tensors: list[OutgoingTensor]
    packing: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    dtype: str | None = None


def quantised_file(
    made: ModelSource | PlainSource,
    tensors: Sequence[OutgoingTensor],
    form: str,
    has_config: bool,
) -> QuantisedFile:
    """Return what a file holds: quantised leaves as the numbers that they are.

    Args:
        made: what the tensors are made of.
        tensors: as if all leaves were plain.
        form: the format.
        has_config: whether a config.json is written beside it.

    Raises:
        InputError: the format has no layout for a scheme, or the leaves of a tensor are in an
            order in which their numbers cannot be stored.
    """
    if not made.source.side.quantised:
        return QuantisedFile([*tensors])
    if form not in _FORMATS:
        raise InputError(
            made.source.side.place,
            found=f"has quantised leaves, for which {form} has no layout",
            expected="safetensors, or GGUF for llama.cpp's types",
            cure="ex.dequantize(tree) makes them plain arrays",
        )
    if form == "gguf":
        for key, leaf in made.source.side.quantised.items():
            check_type(name_of(key), leaf)
    quantised: dict[str, Quantized] = {}
    found: list[OutgoingTensor] = []
    for each in tensors:
        tensor = _quantised(made, each)
        if tensor is None:
            found.append(each)
            continue
        quantised[each.name] = tensor
        made.before.pop(each.name, None)
        found += QuantisedTensor(each.name, tensor).outgoing(form)
    schemes = dict.fromkeys(each.scheme for each in quantised.values())
    note = (
        f"{len(quantised):,} tensors quantised as {first_few(schemes)}: their own numbers"
    )
    packing = None
    if has_config and form == "safetensors":
        from explorer.transforms.quantisation.file_parts import (
            computing_dtype,
            loading_note,
            quantization_config,
        )

        if len(schemes) > 1:
            raise InputError(
                made.source.side.place,
                found=f"has tensors quantised as {first_few(schemes)}",
                expected="one scheme for all, which a quantization_config describes",
                cure="save it without a config, as OUT.safetensors",
            )
        place = made.source.side.place
        ignored = plain_modules(place, tensors, quantised.keys())
        [scheme] = schemes
        packing = quantization_config(scheme, ignored)
        more = (*filter(None, [loading_note(scheme)]),)
        return QuantisedFile(found, packing, (note, *more), computing_dtype(scheme))
    return QuantisedFile(found, packing, (note,))


def _quantised(
    made: ModelSource | PlainSource, tensor: OutgoingTensor
) -> "Quantized | None":
    """Return a tensor of a file as a quantised one; None where none of its leaves is."""
    quantised = made.source.side.quantised
    if isinstance(made, PlainSource):
        found = quantised.get(made.keys[tensor.name])
        if found is not None and found.ndim != 2:
            raise _stacked(tensor, found)
        return found
    stored = made.stored.get(tensor.name)
    parts = [] if stored is None else made.holders(stored)
    is_packed = [part.key in quantised for part in parts]
    if stored is None or not any(is_packed):
        return None
    if not all(is_packed):
        raise InputError(
            tensor.name,
            found="is made of quantised leaves and of others",
            expected="all or none of them quantised",
            cure="ex.dequantize(tree) makes them plain arrays",
        )
    leaves = [_leaf(quantised[part.key], part, tensor) for part in parts]
    [weights] = made.arrays(stored)
    return in_layout(tensor.name, leaves, stored.layout, weights)


def _leaf(tensor: "Quantized", part: LeafPart, stored: OutgoingTensor) -> "Quantized":
    """Return a leaf of the model: one of a stack, or transposed where it is stored so."""
    from dataclasses import replace

    for index in (part.row, part.expert):
        if index is not None:
            parts = {name: array[index] for name, array in tensor.parts.items()}
            tensor = replace(tensor, parts=parts)
    if tensor.ndim != 2:
        raise _stacked(stored, tensor)
    if part.layout is not None and part.layout.axes == (1, 0):
        first, second = tensor.matrix
        flipped = not tensor.inputs_first
        tensor = replace(tensor, matrix=(second, first), inputs_first=flipped)
    return tensor


def _stacked(stored: OutgoingTensor, tensor: "Quantized") -> InputError:
    return InputError(
        stored.name,
        found=f"is a quantised stack {list(tensor.shape)}",
        expected="matrices, a layer or an expert each",
        cure="ex.dequantize(tree) makes it a plain array",
    )


def plain_modules(
    place: str, tensors: Sequence[OutgoingTensor], quantised: Container[str]
) -> tuple[str, ...]:
    """Return the modules whose kernels stay as they are, which a config names."""
    columns = outgoing_inventory(place, tensors).columns
    found = dict.fromkeys(
        each.name.removesuffix(".weight")
        for index, each in enumerate(tensors)
        if columns.kind(index).role == "kernel"
        and len(each.shape) == 2
        and each.name.endswith(".weight")
        and each.name not in quantised
    )
    return tuple({**found, "lm_head": None})
