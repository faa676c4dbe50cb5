"""The translation of a GGUF file's rotary positions into fields of a Hugging Face config."""

from collections.abc import Mapping
from math import pi
from typing import TYPE_CHECKING, Any

from explorer.architectures.config_fields import ConfigFields

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FACTORS", "rotary", "shortest"]

FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")

_KINDS = {name: name for name in ("none", "linear", "yarn", "longrope")}
# of Llama 3: original training length, low and high frequency factors
_ORIGINAL, _LOW, _HIGH = 8192, 1.0, 4.0


def rotary(
    fields: ConfigFields, factors: "Mapping[str, np.ndarray]", head_size: int
) -> dict[str, Any]:
    """Return rope_theta and, if the file has them, partial_rotary_factor and rope_scaling.

    Args:
        fields: the metadata of the file's architecture.
        factors: the file's tensors named in FACTORS.
        head_size: entries of a head, or of its rotated part.
    """
    theta = fields.number("rope.freq_base", default=10_000.0)
    if theta <= 1:
        raise fields.invalid("rope.freq_base", "a number above 1")
    config: dict[str, Any] = {"rope_theta": theta}
    size = fields.size("rope.dimension_count", default=head_size)
    if size % 2 or size > head_size:
        raise fields.error(
            found=f"rotary positions over {size} of a head's {head_size} entries "
            f"({fields.prefix}rope.dimension_count)",
            expected="an even number from 2 to all of them",
        )
    if size != head_size:
        # plus half an entry, so that the product with head_size does not round below size
        config["partial_rotary_factor"] = (size + 0.5) / head_size
    scaling = _scaling(fields, factors, theta, size)
    return config | ({"rope_scaling": scaling} if scaling else {})


def shortest(value: float) -> float:
    """Return the shortest decimal that rounds to the same float32.

    >>> shortest(9.999999974752427e-07)
    1e-06
    """
    import numpy as np

    narrow = np.float32(value)
    return float(str(narrow)) if float(narrow) == value else value


def _scaling(
    fields: ConfigFields, factors: "Mapping[str, np.ndarray]", theta: float, size: int
) -> dict[str, Any] | None:
    kind = fields.choice(_KINDS, "rope.scaling.type", default="none")
    if "rope_factors_long.weight" in factors:
        return _longrope(fields, factors, size)
    if "rope_freqs.weight" in factors:
        _require_count(fields, "rope_freqs.weight", factors, size)
        return _llama3(fields, factors["rope_freqs.weight"], theta)
    if kind == "none":
        return None
    if kind == "longrope":
        raise fields.error(
            found="rope_factors_long.weight is missing",
            expected="it with longrope scaling",
        )
    scaling = {"rope_type": kind, "factor": fields.number("rope.scaling.factor")}
    if kind == "yarn":
        original = fields.size("rope.scaling.original_context_length")
        scaling["original_max_position_embeddings"] = original
        for ours, theirs in (
            ("beta_fast", "yarn_beta_fast"),
            ("beta_slow", "yarn_beta_slow"),
            ("attention_factor", "yarn_attn_factor"),
        ):
            if fields.has(f"rope.scaling.{theirs}"):
                scaling[ours] = fields.number(f"rope.scaling.{theirs}")
    return scaling


def _require_count(
    fields: ConfigFields, name: str, factors: "Mapping[str, np.ndarray]", size: int
) -> None:
    if factors[name].size != size // 2:
        raise fields.error(
            found=f"{name} has {factors[name].size} entries",
            expected=f"{size // 2}, half the rotary entries of a head",
        )


def _longrope(
    fields: ConfigFields, factors: "Mapping[str, np.ndarray]", size: int
) -> dict[str, Any]:
    scaling: dict[str, Any] = {"rope_type": "longrope"}
    for kind in ("short", "long"):
        name = f"rope_factors_{kind}.weight"
        if name not in factors:
            raise fields.error(
                found=f"{name} is missing", expected="short and long factors"
            )
        _require_count(fields, name, factors, size)
        scaling[f"{kind}_factor"] = list(map(shortest, factors[name].ravel().tolist()))
    if fields.has("rope.scaling.attn_factor"):
        scaling["attention_factor"] = fields.number("rope.scaling.attn_factor")
    return scaling


def _llama3(
    fields: ConfigFields, factors: "np.ndarray", theta: float
) -> dict[str, Any] | None:
    """Return the scaling that these factors result from: the file stores only the factors."""
    import numpy as np

    factor = float(factors.max())
    if (factors == 1).all():
        return None
    exponents = np.arange(factors.size) / factors.size
    turns = _ORIGINAL / (2 * pi * theta**exponents)
    smooth = np.clip((turns - _LOW) / (_HIGH - _LOW), 0, 1)
    # a scaling has no factor below 1; the comparison is false for NaN too
    is_scaling = bool((factors >= 1).all())
    if not is_scaling or not np.allclose(
        factors.ravel(), 1 / ((1 - smooth) / factor + smooth), rtol=1e-4
    ):
        raise fields.error(
            found="rope_freqs.weight holds factors of another scaling than Llama 3's",
            expected=f"those of original length {_ORIGINAL}, low factor 1, high factor 4",
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LOW,
        "high_freq_factor": _HIGH,
        "original_max_position_embeddings": _ORIGINAL,
    }
