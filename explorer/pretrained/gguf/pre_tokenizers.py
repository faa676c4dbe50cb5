"""How a tokenizer.json splits a text before its merges -> what llama.cpp calls that.

References:
    the pre-tokenizers of src/llama-vocab.cpp, github.com/ggml-org/llama.cpp (2026).
"""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["PATTERNS", "pre_tokenizer_of"]

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CASES = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    rf"{_SHORT}?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    rf"{_SHORT}?"
)
_BY_PATTERN = {
    rf"{_SHORT}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}": "llama-bpe",
    rf"{_SHORT}|{_WORDS}|\p{{N}}|{_REST}": "qwen2",
    rf"{_CASES}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+": "gpt-4o",
}
# by llama.cpp's names
PATTERNS = {name: pattern for pattern, name in _BY_PATTERN.items()} | {
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}


def pre_tokenizer_of(step: Mapping[str, Any] | None) -> str:
    """Return llama.cpp's name of a pre-tokenizer; "" where it has none.

    Args:
        step: the "pre_tokenizer" of a tokenizer.json.

    >>> pre_tokenizer_of({"type": "ByteLevel", "use_regex": True})
    'gpt-2'
    """
    steps = [*_steps(step or {})]
    if [each.get("type") for each in steps] == ["ByteLevel"]:
        return "gpt-2" if steps[0].get("use_regex", True) else ""
    patterns = [
        each["pattern"]["Regex"]
        for each in steps
        if each.get("type") == "Split" and "Regex" in each.get("pattern", {})
    ]
    return _BY_PATTERN.get(patterns[0], "") if len(patterns) == 1 else ""


def _steps(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if step.get("type") == "Sequence":
        for each in step.get("pretokenizers", ()):
            yield from _steps(each)
    else:
        yield step
