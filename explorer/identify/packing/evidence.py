"""How many bits a packed integer has: what config.json claims against what shapes allow.

A packed word says nothing of its bits. The shapes beside it (scales in groups, zero
points, a group index) often leave one answer; config.json may choose among those that
are left and never adds one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from explorer.paths import name_of

__all__ = [
    "Claim",
    "Claims",
    "Option",
    "Reader",
    "Reading",
    "Stored",
    "choose",
    "claims_of",
]


class Stored(NamedTuple):
    """A tensor as the header lists it."""

    shape: tuple[int, ...]
    dtype: str


class Reading(NamedTuple):
    """What a weight logically is, the scheme it is known by, what its state is called."""

    shape: tuple[int, ...]
    dtype: str
    rule: str
    state: str


class Claim(NamedTuple):
    """Bits, and weights that share a scale (0 where there is one scale a row).

    `shape` is the layer's own, (out, in), where config.json gives it.
    """

    bits: int
    group: int
    shape: tuple[int, ...] = ()


class Claims(NamedTuple):
    """What config.json says of every layer, and of layers that it names.

    `method` is the scheme that it announces, "" where it announces none.
    """

    every: tuple[Claim, ...] = ()
    layers: dict[str, tuple[Claim, ...]] = {}  # noqa: RUF012 - never written to
    method: str = ""


class Option(NamedTuple):
    """Bits that the shapes allow, the row length they lead to, and the group."""

    bits: int
    width: int
    group: int


# (weight, scale, the rest of the layer's state by name ending, config.json's claims)
Reader = Callable[[Stored, Stored, dict[str, Stored], tuple[Claim, ...]], Reading | None]

_WEIGHT_BITS = re.compile(r"W([1-8])A\d", re.IGNORECASE)
_METHODS = ("quant_method", "quant_algo", "method")
_BITS = ("bits", "num_bits", "w_bit", "nbits")
_LAYERS = ("config_for_layers", "extra_config", "module_quant_configs", "layers")
_NAMING = frozenset(("bits", "num_bits", "in_features"))
_GROUP = ("group_size", "q_group_size")
_MOST_CLAIMS = 64  # no model has more schemes than this


def claims_of(config: object) -> Claims:
    """Return what a quantization config claims; anything else is ignored.

    Args:
        config: `quantization_config` of config.json, or MLX's `quantization`, as a dict.

    >>> claims_of({"quant_method": "gptq", "bits": 4, "group_size": 128}).every
    (Claim(bits=4, group=128, shape=()),)
    """
    if not isinstance(config, dict):
        return Claims()
    every = tuple(dict.fromkeys(_claims_in(config)))
    # MLX names layers beside the settings, VPTQ and AutoRound a level down
    named = [config, *(config.get(key) for key in _LAYERS)]
    layers = {
        "/" + name_of(name): tuple(_claims_in(value))
        for holder in named
        if isinstance(holder, dict)
        for name, value in holder.items()
        if isinstance(name, str)
        and isinstance(value, dict)
        and not _NAMING.isdisjoint(value)
    }
    return Claims(every, layers, _method(config))


def _method(config: dict[Any, Any]) -> str:
    """Return the scheme that a quantization config announces, as it spells it."""
    for key in _METHODS:
        method = config.get(key)
        if isinstance(method, str) and method.lower() not in ("", "none"):
            return method.lower()
    if config.get("load_in_4bit") is True or config.get("load_in_8bit") is True:
        return "bitsandbytes"
    return "quantization" if type(config.get("bits")) is int else ""


def _claims_in(config: dict[Any, Any]) -> Iterator[Claim]:
    # compressed-tensors keeps its schemes a level down, HQQ too
    groups = config.get("config_groups")
    holders = list(groups.values())[:_MOST_CLAIMS] if isinstance(groups, dict) else []
    holders.append(config.get("quant_config"))
    nested = [
        holder.get(key)
        for holder in holders
        if isinstance(holder, dict)
        for key in ("weights", "weight_quant_params")
    ]
    if config.get("quant_method") == "bitnet":  # ternary, and says no bits
        yield Claim(2, 0)
    algorithm = config.get("quant_algo")  # TensorRT-LLM's and ModelOpt's: W4A16_AWQ
    if isinstance(algorithm, str) and (found := _WEIGHT_BITS.match(algorithm)):
        yield Claim(int(found[1]), 0)
    sides = [config.get(name) for name in ("out_features", "in_features")]
    known = [side for side in sides if isinstance(side, int) and side > 0]
    if len(known) == 2:
        yield Claim(0, 0, tuple(known))
    for scheme in (config, *nested):
        if isinstance(scheme, dict):
            bits = [scheme[key] for key in _BITS if type(scheme.get(key)) is int]
            group = [scheme[key] for key in _GROUP if type(scheme.get(key)) is int]
            if bits and 1 <= bits[0] <= 8:
                yield Claim(bits[0], max(group[0], 0) if group else 0)


def choose(
    options: Sequence[Option], claims: tuple[Claim, ...], source: str
) -> tuple[Option, str] | None:
    """Return the option to believe and why, or None where the shapes allow none.

    Args:
        options: what the shapes allow, the likeliest first.
        claims: what config.json says; it only chooses among the options.
        source: the tensors that the options were read off, for the rule.
    """
    if not options:
        return None
    claims = tuple(claim for claim in claims if claim.bits)
    bits = {claim.bits for claim in claims}
    groups = {claim.group for claim in claims}
    exact = [option for option in options if Claim(option.bits, option.group) in claims]
    ways = (
        (exact, "bits from config.json"),
        (options, f"bits from {source}"),
        ([option for option in options if option.group in groups], "bits from group size"),
        ([option for option in options if option.bits in bits], "bits from config.json"),
    )
    fitting, how = next(
        (way for way in ways if len({option.bits for option in way[0]}) == 1),
        (exact or options, "bits assumed"),
    )
    if fitting[0].bits in bits:
        how = how if how == "bits assumed" else "bits from config.json"
    elif bits:
        how += f", not the {min(bits)} of config.json"
    return fitting[0], how
