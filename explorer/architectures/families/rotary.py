"""Rotary positions as described by configs, in the older and the newer spelling."""

from math import log, sqrt

from explorer.architectures.attention_specs import RopeScaling, RopeSpec
from explorer.architectures.config_fields import ConfigFields

__all__ = ["rope_of", "yarn_magnitude"]

_SCALINGS = ("linear", "dynamic", "llama3", "yarn", "longrope", "default")


def rope_of(
    fields: ConfigFields,
    head_size: int,
    theta: float = 10_000.0,
    share: float = 1.0,
    scaling: ConfigFields | None = None,
) -> RopeSpec:
    """Return the rotary positions that a config specifies.

    Args:
        fields: with rope_theta and rope_scaling, or rope_parameters with both.
        head_size: entries of a head.
        theta: the base if the config does not specify it.
        share: the fraction of a head that is rotated if the config does not specify it.
        scaling: used in place of rope_parameters if a config has several.
    """
    inner = scaling or fields.nested("rope_parameters", "rope_scaling")
    inner = inner or fields.inner({})
    theta = fields.number("rope_theta", "rotary_emb_base", default=theta)
    theta = inner.number("rope_theta", default=theta)
    if theta <= 1:
        raise fields.error(found=f"rope_theta is {theta:g}", expected="a number above 1")
    share = fields.number("partial_rotary_factor", "rotary_pct", default=share)
    share = inner.number("partial_rotary_factor", default=share)
    size = int(head_size * share) if share <= 1 else 0
    if size % 2 or not size:
        raise fields.error(
            found=f"rotary positions over {_share(share)}a head of {head_size} entries",
            expected="an even number of entries from 2 to all",
        )
    return RopeSpec(size, theta, scaling=_scaling_of(fields, inner, size))


def _share(share: float) -> str:
    return "" if share == 1 else f"partial_rotary_factor {share:g} of "


def _scaling_of(fields: ConfigFields, inner: ConfigFields, size: int) -> RopeScaling | None:
    kind = _kind_of(inner)
    longest = fields.size("max_position_embeddings", default=2048)
    original = fields.size("original_max_position_embeddings", default=longest)
    original = inner.size("original_max_position_embeddings", default=original)
    match kind:
        case "linear":
            return RopeScaling("linear", inner.number("factor"))
        case "dynamic":
            return RopeScaling("dynamic", inner.number("factor"), longest)
        case "llama3":
            low, high = inner.number("low_freq_factor"), inner.number("high_freq_factor")
            if high <= low:
                raise inner.invalid(
                    "high_freq_factor", f"a number above low_freq_factor {low:g}"
                )
            return RopeScaling("llama3", inner.number("factor"), original, low, high)
        case "yarn":
            return _yarn(inner, original, longest)
        case "longrope":
            return _longrope(inner, original, longest, size)
    return None


def _kind_of(inner: ConfigFields) -> str:
    """Return the kind of scaling; none of them changes what is counted."""
    for name in ("rope_type", "type"):
        kind = inner.content.get(name)
        if isinstance(kind, str) and kind not in (*_SCALINGS, "su"):
            inner.not_built(name, ", ".join(_SCALINGS))
            return "default"
    kinds = {name: name for name in _SCALINGS} | {"su": "longrope"}
    return inner.choice(kinds, "rope_type", "type", default="default")


def _yarn(inner: ConfigFields, original: int, longest: int) -> RopeScaling:
    factor = inner.number("factor", default=longest / original)
    rotated, every = (_from_zero(inner, name) for name in ("mscale", "mscale_all_dim"))
    magnitude = yarn_magnitude(factor)
    if rotated and every:
        magnitude = yarn_magnitude(factor, rotated) / yarn_magnitude(factor, every)
    return RopeScaling(
        "yarn",
        factor,
        original,
        beta_fast=inner.number("beta_fast", default=32.0),
        beta_slow=inner.number("beta_slow", default=1.0),
        truncate=inner.flag("truncate", default=True),
        magnitude=inner.number("attention_factor", default=magnitude),
    )


def _from_zero(inner: ConfigFields, name: str) -> float:
    value = inner.number(name, default=0.0, positive=False)
    if value < 0:
        raise inner.invalid(name, "0 or more")
    return value


def yarn_magnitude(factor: float, weight: float = 1.0) -> float:
    """Return the factor by which yarn multiplies rotated vectors (Peng et al. 2023).

    >>> yarn_magnitude(1.0), round(yarn_magnitude(40.0), 4)
    (1.0, 1.3689)
    """
    return 1.0 if factor <= 1 else 0.1 * weight * log(factor) + 1.0


def _longrope(inner: ConfigFields, original: int, longest: int, size: int) -> RopeScaling:
    factor = inner.number("factor", default=longest / original)
    short, long = inner.numbers("short_factor"), inner.numbers("long_factor")
    for name, factors in (("short_factor", short), ("long_factor", long)):
        if len(factors) != size // 2:
            raise inner.error(
                found=f"{inner.prefix}{name} has {len(factors)} entries",
                expected=f"{size // 2}, half the rotary entries of a head",
            )
    scaled = factor > 1 and original > 1
    magnitude = sqrt(1 + log(factor) / log(original)) if scaled else 1.0
    return RopeScaling(
        "longrope",
        factor,
        original,
        magnitude=inner.number("attention_factor", default=magnitude),
        short=short,
        long=long,
    )
