"""llama.cpp's mixing rule: which type each tensor of a file has, by its name and its layer.

A file type such as Q4_K_M gives most tensors one type, and raises or lowers those that lose
most or least. The rule counts tensors of a kind in the order of their layers; in a mixture of
experts it takes the layer from the name.

References:
    llama_tensor_get_type_impl, tensor_allows_quantization and tensor_requires_imatrix in
    src/llama-quant.cpp, github.com/ggml-org/llama.cpp (commit 007dbbf, 2026).
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from explorer import dtypes
from explorer.sizing.weights.gguf_blocks import MIXES

__all__ = ["MixFacts", "mixed_types", "needs_importances"]

_LOW = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
_LAYER = re.compile(r"blk\.(\d+)\.")


class MixFacts(NamedTuple):
    """What the rule asks about a model.

    Attributes:
        layers: blocks of the model.
        experts: of a mixture; 0 for none.
        grouped: query heads for each head of keys.
        is_70b: whether llama.cpp takes it for the 70B of its family.
        importances: whether an importance matrix is given.
    """

    layers: int
    experts: int = 0
    grouped: int = 1
    is_70b: bool = False
    importances: bool = False


def needs_importances(mix: str) -> bool:
    """Return whether llama-quantize refuses a file type without an importance matrix.

    >>> needs_importances("IQ2_XS"), needs_importances("Q4_K_M")
    (True, False)
    """
    return mix in _LOW or mix in ("IQ3_XXS", "IQ3_XS", "Q2_K_S")


class _Turn(NamedTuple):
    """One tensor's turn: the file type, the model, its place among its kind and in the layers."""

    mix: str
    facts: MixFacts
    place: int
    layer: int

    def first(self, part: int) -> bool:
        """Whether it is in the first 1/part of the layers."""
        return self.layer < self.facts.layers // part

    @property
    def raised(self) -> bool:
        """Whether its layer gets more bits: the first and last eighth, and every third."""
        return _gets_more(self.layer, self.facts.layers)


def _gets_more(index: int, number: int) -> bool:
    eighth = number // 8
    return index < eighth or index >= 7 * number // 8 or (index - eighth) % 3 == 2


def _value(turn: _Turn, values: int) -> str | None:
    """Return the type of values (or queries, keys and values together), of which there are so many."""
    mix, facts, index = turn.mix, turn.facts, turn.place
    grouped = facts.grouped >= 4
    if mix in _LOW:
        if grouped or facts.experts >= 4:
            return "q4_k"
        return "iq3_s" if mix in ("IQ2_S", "IQ2_M") else "q2_k"
    plain = {
        "Q2_K": "q4_k" if grouped else "q3_k",
        "Q2_K_S": "q4_k" if grouped else None,
        "IQ3_XXS": "q4_k" if grouped else ("iq3_xxs" if facts.importances else "iq3_s"),
        "IQ3_XS": "q4_k" if grouped else None,
        "IQ3_S": "q4_k" if grouped else None,
        "IQ3_M": "q4_k",
        "Q3_K_M": "q5_k" if index < 2 else "q4_k",
        "Q3_K_L": "q5_k",
        "IQ4_NL": "q5_k" if grouped else None,
        "IQ4_XS": "q5_k" if grouped else None,
        "Q4_K_M": "q6_k" if _gets_more(index, values) else None,
        "Q5_K_M": "q6_k" if _gets_more(index, values) else None,
        "Q4_K_S": "q5_k" if index < 4 else None,
    }
    chosen = plain.get(mix) or MIXES[mix]
    if facts.is_70b and chosen in ("q3_k", "q4_k"):
        chosen = "q5_k"
    return "q8_0" if facts.experts == 8 else chosen


def _query(turn: _Turn) -> str | None:
    return {"IQ3_XS": "iq3_xxs", "IQ3_XXS": "iq2_s"}.get(turn.mix)


def _key(turn: _Turn) -> str | None:
    if turn.facts.experts == 8:
        return "q4_k" if turn.mix in _LOW else "q8_0"
    return _query(turn)


def _down(turn: _Turn) -> str | None:
    mix, facts = turn.mix, turn.facts
    if mix in _LOW:
        richer = "iq3_s" if mix in ("IQ2_S", "IQ2_M") else "q2_k"
        return richer if turn.place < facts.layers // 8 else None
    eighth, bare = turn.first(8), not facts.importances
    return {
        "Q2_K": "q3_k",
        "Q2_K_S": "q4_k" if eighth else None,
        "IQ3_XXS": ("q4_k" if eighth else "q3_k") if bare else None,
        "Q3_K_M": "q5_k" if turn.first(16) else "q4_k",
        "IQ3_M": "q4_k" if eighth or (facts.experts == 8 and turn.raised) else None,
        "Q3_K_L": "q5_k",
        "Q4_K_M": "q6_k" if turn.raised else None,
        "IQ4_NL": "q5_k" if eighth and bare else None,
        "IQ4_XS": "q5_k" if eighth and bare else None,
        "Q5_K_M": "q6_k" if turn.raised else None,
        "Q4_K_S": "q5_k" if eighth else None,
        "Q4_0": "q4_1" if eighth and facts.importances else None,
        "Q5_0": "q5_1" if eighth and facts.importances else None,
    }.get(mix)


def _out(turn: _Turn) -> str | None:
    mix = turn.mix
    if mix in _LOW:
        if turn.facts.experts == 8:
            return "q5_k"
        return {
            "IQ1_S": "iq2_xxs",
            "IQ1_M": "iq2_xxs",
            "IQ2_S": "iq3_s",
            "IQ2_M": "iq3_s",
        }.get(mix)
    if turn.facts.experts == 8:
        small = "Q2_K IQ3_XS IQ3_XXS Q3_K_S Q3_K_M IQ4_NL Q4_K_S Q4_K_M IQ3_S IQ3_M IQ4_XS"
        return "q5_k" if mix in small.split() else None
    return {
        "Q2_K": "q3_k",
        "IQ3_XXS": "iq3_s",
        "Q3_K_M": "q4_k",
        "Q3_K_L": "q5_k",
        "IQ3_M": "q4_k",
    }.get(mix)


def _gate_or_up(turn: _Turn) -> str | None:
    middle = not turn.first(8) and turn.layer < 7 * turn.facts.layers // 8
    return "iq3_xxs" if turn.mix == "IQ3_XS" and middle else None


# part of a name -> the kind it is counted as, in the order in which llama.cpp looks
_KINDS: tuple[tuple[str, str], ...] = (
    ("attn_qkv.weight", "value"),
    ("attn_kv_b.weight", "value"),
    ("attn_v.weight", "value"),
    ("attn_k.weight", "key"),
    ("attn_q.weight", "query"),
    ("attn_output.weight", "out"),
    ("ffn_up", "up"),
    ("ffn_gate", "gate"),
    ("ffn_down", "down"),
)
_RULES: dict[str, Callable[[_Turn], str | None]] = {
    "key": _key,
    "query": _query,
    "out": _out,
    "up": _gate_or_up,
    "gate": _gate_or_up,
    "down": _down,
}


def _kind(name: str) -> str:
    return next((kind for part, kind in _KINDS if part in name), "other")


def _outside(mix: str, name: str, row: int, tied: bool) -> str | None:
    """Return the type of the output or of the embedding; None where the mix has no rule."""
    default = MIXES[mix]
    if mix == "MXFP4_MOE":
        return "q8_0"
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        if row % dtypes.find(default).block:
            return "q8_0"
        if mix in _LOW or mix == "IQ3_XXS":
            return "q5_k"
        return default if default == "q8_0" else "q6_k"
    if mix in ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"):
        return "q2_k"
    if mix in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
        return "iq3_s"
    return "q4_k" if mix in ("TQ1_0", "TQ2_0", "Q2_0") else None


def mixed_types(
    mix: str, tensors: Sequence[tuple[str, tuple[int, ...]]], facts: MixFacts
) -> list[str]:
    """Return the type that a mix chooses for each tensor, before rows are checked.

    Args:
        mix: the file type ("Q4_K_M").
        tensors: names and shapes of those that are quantised, layer by layer.
        facts: of the model.

    >>> layers = [(f"blk.{i}.attn_v.weight", (256, 256)) for i in range(8)]
    >>> mixed_types("Q4_K_S", layers, MixFacts(layers=8))[3:5]
    ['q5_k', 'q4_k']
    """
    default = MIXES[mix]
    tied = all(name != "output.weight" for name, _ in tensors)
    values = sum(_kind(name) == "value" for name, _ in tensors)
    counts: Counter[str] = Counter()
    chosen = []
    for name, shape in tensors:
        layer = _LAYER.match(name)
        if layer is None:
            named = name in ("output.weight", "token_embd.weight")
            found = _outside(mix, name, shape[-1], tied) if named else None
        elif mix == "MXFP4_MOE":
            found = "mxfp4" if len(shape) > 2 and shape[0] > 1 else "q8_0"
        else:
            kind = _kind(name)
            place = counts[kind]
            turn = _Turn(mix, facts, place, int(layer[1]) if facts.experts > 1 else place)
            counts[kind] += 1
            if kind == "value":
                found = _value(turn, values)
            else:
                found = _RULES[kind](turn) if kind in _RULES else None
        chosen.append(found or default)
    return chosen
