"""Regular expressions of a tokenizer.json: those that could be searched without end are refused."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from explorer.errors import FormatError
from explorer.pretrained.tokenizer_patterns import check_tokenizer_patterns
from explorer.pretrained.tokenizers import tokenizer_of
from tests.fuzz.measure import pace

# of the tokenizer.json files that these models are published with
PUBLISHED = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek-v3": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?"
    r"[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "clip": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]"
    r"|[^\s\p{L}\p{N}]+",
    "xlm-roberta": r" {2,}",
}
REFUSED = [
    "(a+)+$", "(a*)*b", "(a|aa)+$", "(?:a|a)*c", "(a?){50}b", "((a)?b?)+c", "(?i:a+){2,}b", "a{1,3}+$",
    "(a{1,3})+$", "a+*b", r"(a)\1+", r"(?<x>a)\k<x>", r"(?<x>a\g<x>?b)", ".*.*.*.*x", "(.*.*)(.*.*)x",
    r"(?:[^\]]+)*x", "(" * 61 + ")" * 61, "a" * 10_001, "(?:x(?=a+))*b",
]  # fmt: skip


def tokenizer_with(pattern: str, where: str = "pre_tokenizer") -> dict[str, Any]:
    """Return a tokenizer.json with a pattern, by the library itself."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("a"), "isolated")
    document = json.loads(tokenizer.to_str())
    document["pre_tokenizer"]["pattern"] = {"Regex": pattern}
    if where == "normalizer":
        split = document.pop("pre_tokenizer")
        replace = {"type": "Replace", "pattern": split["pattern"], "content": ""}
        document |= {"normalizer": replace, "pre_tokenizer": None}
    return document


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_patterns_are_read(tmp_path: Path, name: str):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_with(PUBLISHED[name])))
    assert tokenizer_of(str(tmp_path)).encode("Hello, world 123\n")


@pytest.mark.parametrize("where", ["pre_tokenizer", "normalizer"])
@pytest.mark.parametrize("pattern", REFUSED)
def test_patterns_that_may_take_long(tmp_path: Path, pattern: str, where: str):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_with(pattern, where)))
    begin = time.process_time()
    with pytest.raises(FormatError) as caught:
        tokenizer_of(str(tmp_path)).encode(("a" * 23 + "b") * 1000)
    seconds = time.process_time() - begin
    assert seconds < 2 or seconds < 2 * pace()  # which takes a second, and is seldom asked
    line = str(caught.value)
    assert line.startswith(f"{path}: has the pattern {pattern[:20]}")
    assert "whose search may take very long: " in line
    assert "\n" not in line


def test_a_word_that_is_spelled_by_its_codes(tmp_path: Path):
    text = json.dumps(tokenizer_with("(a+)+$")).replace('"Regex"', '"\\u0052egex"')
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(FormatError, match="whose search may take very long"):
        tokenizer_of(str(tmp_path))


def test_every_cut_of_a_pattern_ends():
    whole = PUBLISHED["o200k"] + "".join(REFUSED[:15])
    cuts = [whole[b:end] for end in range(len(whole)) for b in (0, end // 2)]
    lines = [line for cut in cuts for line in refusals(cut)]
    assert 0 < len(lines) < len(cuts)
    assert not any("\n" in line for line in lines)


def refusals(pattern: str) -> list[str]:
    try:
        check_tokenizer_patterns("t", [{"Regex": pattern}])
    except FormatError as error:
        return [str(error)]
    return []
