"""The format that a model's weights are published in, where that is a packed one."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from explorer.errors import printable
from explorer.inventory.inventory import Inventory
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.subject import Subject
from explorer.sizing.weights.linear import linear_weights
from explorer.sizing.weights.schemes import LinearScheme, Options, Sizes, linear_scheme
from explorer.sizing.weights.totals import Weights

__all__ = ["published_weights", "unread_method"]

_FP8_BLOCKS = "FP8 in blocks of 128 x 128"
_EXPERTS = "experts in MXFP4"
_INT8 = "matrices in int8"  # Grok-1, whose published figure leaves its scales out


def published_weights(subject: Subject, placement: Placement) -> Weights | None:
    """Return the bytes of the weights as they are published; None where they are plain.

    The catalogue says it of its models, `quantization_config` of a config.json.
    """
    card = subject.inventory.card
    if card is None:
        return None
    if card.packing:
        return _by_config(subject, card.packing, placement)
    if card.advertised is None or not card.advertised.file_format:
        return None
    size = card.advertised.file_bytes
    form = card.advertised.file_format.partition(" (derived")[0]  # how sure the bytes are
    scheme, rest = _by_format(form), "float32" if form == _INT8 else None
    if scheme is None:
        return None
    found = linear_weights(subject, scheme, rest, placement, form == _EXPERTS)
    file = (
        f"; the published file has {size:,} bytes" if size and size != found.bytes else ""
    )
    note = f"as published: {form}, the rest in {rest or _dtype(subject)}{file}"
    return _noted(found, note)


def unread_method(inventory: Inventory) -> str:
    """Return the method of a `quantization_config` that has no rule here; "" for none."""
    packing = inventory.card.packing if inventory.card is not None else {}
    if not packing or _by_method(_method(packing), packing) is not None:
        return ""
    return printable(packing.get("quant_method", "quantised"), 40)


def _method(packing: Mapping[str, Any]) -> str:
    return str(packing.get("quant_method", "")).lower()


def _dtype(subject: Subject) -> str:
    return subject.architecture.dtype if subject.architecture else "their own dtype"


def _noted(weights: Weights, note: str) -> Weights:
    return replace(weights, note=note)


def _by_format(form: str) -> LinearScheme | None:
    if form == _FP8_BLOCKS:
        return linear_scheme("fp8", Options(scales="block"))
    if form == _EXPERTS:
        return linear_scheme("mxfp4")
    if form == _INT8:
        return LinearScheme("int8", lambda matrix: Sizes(matrix.size, 0), form)
    return None


def _by_config(
    subject: Subject, packing: Mapping[str, Any], placement: Placement
) -> Weights | None:
    method = _method(packing)
    scheme = _by_method(method, packing)
    if scheme is None:
        return None
    found = linear_weights(subject, scheme, None, placement, method == "mxfp4")
    found = _noted(found, f"as its quantization_config says: {found.note}")
    if method == "compressed-tensors":  # does not say the dtype of scales
        return replace(found, provenance="inferred (scales in the dtypes that are usual)")
    return found


def _by_method(method: str, packing: Mapping[str, Any]) -> LinearScheme | None:
    """Return the scheme that a `quantization_config` describes; None for one that has no rule."""
    group, bits = packing.get("group_size"), packing.get("bits", packing.get("w_bit"))
    options = Options(
        group=group
        if isinstance(group, int) and group > 0
        else (0 if group == -1 else None),
        bits=bits if bits in (2, 3, 4, 8) else None,
    )
    match method:
        case "fp8":
            blocks = packing.get("weight_block_size") == [128, 128]
            return linear_scheme("fp8", Options(scales="block" if blocks else "tensor"))
        case "mxfp4":
            return linear_scheme("mxfp4")
        case "gptq":
            return linear_scheme(
                "gptq", options._replace(act=packing.get("desc_act") is True)
            )
        case "awq":
            return linear_scheme("awq", options)
        case "compressed-tensors":
            return _compressed(packing)
        case "bitsandbytes" if packing.get("load_in_8bit"):
            return linear_scheme("int8")
        case "bitsandbytes" if packing.get("load_in_4bit"):
            kind = "fp4" if packing.get("bnb_4bit_quant_type") == "fp4" else "nf4"
            double = packing.get("bnb_4bit_use_double_quant") is True
            return linear_scheme(kind, Options(double=double))
    return None


def _compressed(packing: Mapping[str, Any]) -> LinearScheme | None:
    """Return the scheme of compressed-tensors' only group of linear layers; None for others.

    References:
        vllm-project/compressed-tensors quantization/quant_args.py, config/base.py (2025).
    """
    groups = packing.get("config_groups")
    group = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    if not isinstance(group, Mapping) or not isinstance(groups, Mapping) or len(groups) > 1:
        return None
    weights = group.get("weights")
    if group.get("targets") != ["Linear"] or not isinstance(weights, Mapping):
        return None
    bits, kind = weights.get("num_bits"), weights.get("type", "int")
    strategy, size = weights.get("strategy", "tensor"), weights.get("group_size")
    match kind, bits, strategy:
        case "float", 8, "tensor" | "channel":
            return linear_scheme("fp8", Options(scales=strategy))
        case "float", 8, "block" if weights.get("block_structure") == [128, 128]:
            return linear_scheme("fp8", Options(scales="block"))
        case "float", 4, "tensor_group" | "group" if size in (16, None):
            return linear_scheme("nvfp4")
        case "int", 8, "channel" | "tensor":
            return linear_scheme("int8")
        case "int", 4 | 8, "group" if isinstance(size, int) and size > 0:
            return linear_scheme(f"int{bits}", Options(group=size))
        case "int", 4, "channel":
            return linear_scheme("int4", Options(group=0))
    return None
