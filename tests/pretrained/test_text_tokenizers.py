"""Text <-> tokens by a GGUF file's own vocabulary, as the tokenizers library has them."""

import json
from pathlib import Path

import pytest
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from explorer.errors import FormatError, TargetError
from explorer.pretrained.byte_pairs import byte_pairs_of, encode_pairs
from explorer.pretrained.gguf.pre_tokenizers import PATTERNS
from explorer.pretrained.gguf.tokenizers import tokenizer_pairs
from explorer.pretrained.pieces import encode_pieces, vocabulary_of
from explorer.pretrained.tokenizers import GgufTokenizer, tokenizer_of
from explorer.pretrained.whole_tokens import WholeTokens

SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>"]
CORPUS = [
    "a house has rooms, and rooms have doors; I'll say it's 1234 times 56.78",
    "def f(x):\n    return x ** 2  # squared\n\n\nclass A:\n\tpass\n",
    "Grüße aus Köln, Ångström und naïve Straßen — 東京タワー и Москва",
] * 2
TEXTS = [
    *CORPUS,
    "",
    " ",
    "  two  spaces   three\t\ttabs \n\n\n end ",
    "I'LL WE'VE don't 'tis 12345678 ²½ Ⅷ",
    "a\u0301 combining, \u200b zero, \x1c separator, \u00a0 nbsp, 🦊👩‍👩‍👧",
    "<s>text<|user|> more</s></s>x <|user",
    "ℵ𐍈 𝔘nicode",
]


def pairs_of(tokenizer: Tokenizer, folder: Path) -> dict:
    tokenizer.save(str(folder / "tokenizer.json"))
    pairs, notes = tokenizer_pairs(str(folder), tokenizer.get_vocab_size())
    assert notes == []
    return {key: each.value for key, each in pairs.items()}


def decoded(tokenizer: GgufTokenizer, ids: list[int]) -> str:
    return "".join(map(tokenizer.decoder([]), ids))


@pytest.mark.parametrize("name", PATTERNS)
def test_byte_pairs(tmp_path: Path, name: str):
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name == "gpt-2")
    split = pre_tokenizers.Split(Regex(PATTERNS[name]), "isolated")
    tokenizer.pre_tokenizer = (
        level if name == "gpt-2" else pre_tokenizers.Sequence([split, level])
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL,
            show_progress=False,
            initial_alphabet=alphabet,
        ),
    )
    pairs = pairs_of(tokenizer, tmp_path)
    vocabulary = byte_pairs_of(pairs)
    assert vocabulary is not None
    found = GgufTokenizer(
        vocabulary, pairs["tokenizer.ggml.tokens"], pairs["tokenizer.ggml.token_type"], ()
    )
    for text in TEXTS:
        want = tokenizer.encode(text).ids
        assert encode_pairs(text, vocabulary._replace(begin=None)) == want, text
        assert decoded(found, want) == tokenizer.decode(want), text


def test_pieces(tmp_path: Path):
    """A merge order as scores, bytes for what has no piece, as Llama 2's and Gemma's."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    trained.train_from_iterator(
        CORPUS[:2], trainers.BpeTrainer(vocab_size=150, show_progress=False)
    )
    content = json.loads(trained.to_str())["model"]
    tokens = [*SPECIAL, *(f"<0x{n:02X}>" for n in range(256))]
    tokens += sorted(content["vocab"], key=content["vocab"].__getitem__)
    merges = [tuple(each) for each in content["merges"]]
    model = models.BPE(
        {token: n for n, token in enumerate(tokens)},
        merges,
        unk_token="<unk>",
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(SPECIAL)
    pairs = pairs_of(tokenizer, tmp_path)
    vocabulary = vocabulary_of(pairs)
    assert vocabulary is not None
    found = GgufTokenizer(
        vocabulary, pairs["tokenizer.ggml.tokens"], pairs["tokenizer.ggml.token_type"], ()
    )
    for text in TEXTS:
        want = tokenizer.encode(text).ids
        assert encode_pieces(text, vocabulary._replace(begin=None)) == want, text
        assert decoded(found, want) == tokenizer.decode(want), text


def test_whole_tokens_are_found_before_anything_else():
    whole = WholeTokens({"<a>": 1, "<a>b": 2, "\n\n": 3, "": 4})
    assert [*whole.split("x<a>b\n\n\n<a><a")] == ["x", 2, 3, "\n", 1, "<a"]
    assert [*whole.split("")] == []


def test_tokenizers_that_are_not_read(tmp_path: Path):
    with pytest.raises(TargetError, match=r"has no tokenizer\.json beside it"):
        tokenizer_of(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FormatError, match=r"is not a tokenizer of the tokenizers library"):
        tokenizer_of(str(tmp_path))


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ({}, "has no tokenizer; expected"),
        ({"tokenizer.ggml.model": "t5"}, "has a tokenizer of the kind 't5', split as None"),
        (
            {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "tekken"},
            "has a tokenizer of the kind 'gpt2', split as 'tekken'",
        ),
    ],
)
def test_vocabularies_that_are_not_read(tmp_path: Path, pairs: dict, kind: str):
    import gguf

    writer = gguf.GGUFWriter(str(tmp_path / "a.gguf"), "llama")
    for key, value in pairs.items():
        writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(TargetError) as caught:
        tokenizer_of(str(tmp_path / "a.gguf"))
    assert kind in str(caught.value)
    assert "\n" not in str(caught.value)
