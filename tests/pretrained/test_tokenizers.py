"""tokenizer.json -> GGUF: against the gguf package's own readers of it, and the tokenizers library."""

import json
from pathlib import Path

import gguf
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from explorer.errors import FormatError
from explorer.pretrained.gguf.tokenizers import tokenizer_pairs

TEXT = ["a house has rooms", "rooms have doors, and doors have keys: 1234", "Grüße"] * 3
SPECIAL = ["<unk>", "<s>", "</s>"]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # gguf.TokenType


def byte_level(folder: Path, pattern: str = "") -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern)
    if pattern:
        from tokenizers import Regex

        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    else:
        tokenizer.pre_tokenizer = level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True}
    settings["chat_template"] = "{{ messages }}"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer


def test_byte_level_bpe(tmp_path: Path):
    tokenizer = byte_level(tmp_path)
    size = tokenizer.get_vocab_size()
    pairs, notes = tokenizer_pairs(str(tmp_path), size + 2)
    found = {key.removeprefix("tokenizer.ggml."): pair.value for key, pair in pairs.items()}
    assert notes == []
    assert (found["model"], found["pre"]) == ("gpt2", "gpt-2")
    tokens = [tokenizer.id_to_token(number) for number in range(size)]
    assert found["tokens"] == [*tokens, f"[PAD{size}]", f"[PAD{size + 1}]"]
    kinds = [CONTROL] * 3 + [NORMAL] * (size - 3) + [UNUSED] * 2
    assert found["token_type"] == kinds
    special = gguf.SpecialVocab(tmp_path, load_merges=True, n_vocab=size)
    assert found["merges"] == special.merges
    assert found["bos_token_id"] == special.special_token_ids["bos"] == 1
    assert found["eos_token_id"] == special.special_token_ids["eos"] == 2
    assert found["add_bos_token"] is special.add_special_token["bos"] is True
    assert pairs["tokenizer.chat_template"].value == special.chat_template


def test_pre_tokenizers_by_their_pattern(tmp_path: Path):
    byte_level(tmp_path, LLAMA3)
    pairs, notes = tokenizer_pairs(str(tmp_path), 300)
    assert (pairs["tokenizer.ggml.pre"].value, notes) == ("llama-bpe", [])
    byte_level(tmp_path, r"\p{N}+|\p{L}+")
    pairs, notes = tokenizer_pairs(str(tmp_path), 300)
    assert pairs["tokenizer.ggml.pre"].value == "default"
    assert "its pre-tokenizer is none that llama.cpp names" in notes[0]


def test_sentencepiece_bpe(tmp_path: Path):
    """With bytes as a last resort, as Llama 2 and Gemma have it; scores follow the merges."""
    letters = [f"<0x{n:02X}>" for n in range(256)]
    vocabulary = {
        t: n
        for n, t in enumerate([*SPECIAL, *letters, *"\u2581abc", "ab", "abc", "\u2581a"])
    }
    merges = [("a", "b"), ("ab", "c"), ("\u2581", "a")]
    model = models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.add_tokens(["[user]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    pairs, _ = tokenizer_pairs(str(tmp_path), tokenizer.get_vocab_size())
    found = {key.removeprefix("tokenizer.ggml."): pair.value for key, pair in pairs.items()}
    assert (found["model"], found["add_space_prefix"]) == ("llama", True)
    scores = dict(zip(found["tokens"], found["scores"], strict=True))
    assert (scores["ab"], scores["abc"], scores["\u2581a"]) == (0.0, -1.0, -2.0)
    kinds = dict(zip(found["tokens"], found["token_type"], strict=True))
    assert (kinds["<unk>"], kinds["<s>"], kinds["<0x0A>"]) == (UNKNOWN, CONTROL, BYTE)
    assert (kinds["ab"], kinds["[user]"]) == (NORMAL, USER_DEFINED)


def test_unigram(tmp_path: Path):
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("a", -1.5), ("\u2581b", -2.25)], 0)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    pairs, _ = tokenizer_pairs(str(tmp_path), 3)
    assert pairs["tokenizer.ggml.model"].value == "t5"
    assert pairs["tokenizer.ggml.scores"].value == [0.0, -1.5, -2.25]
    assert pairs["tokenizer.ggml.token_type"].value == [UNKNOWN, NORMAL, NORMAL]
    assert pairs["tokenizer.ggml.add_space_prefix"].value is False


def test_wordpiece(tmp_path: Path):
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "room": 2, "##s": 3}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[UNK]", "[CLS]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    pairs, _ = tokenizer_pairs(str(tmp_path), 4)
    assert pairs["tokenizer.ggml.model"].value == "bert"
    assert pairs["tokenizer.ggml.tokens"].value == ["[UNK]", "[CLS]", "\u2581room", "s"]


def test_no_tokenizer(tmp_path: Path):
    assert tokenizer_pairs(str(tmp_path), 4)[0] == {}
    (tmp_path / "tokenizer.json").write_text(
        '{"model": {"type": "WordLevel", "vocab": {}}}'
    )
    pairs, notes = tokenizer_pairs(str(tmp_path), 4)
    assert (pairs, notes) == (
        {},
        ["no tokenizer: GGUF has none like WordLevel of tokenizer.json"],
    )


@pytest.mark.parametrize("text", ["", "[]", '{"model": {"vocab": 3}}', '{"model": null}'])
def test_broken_files(tmp_path: Path, text: str):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(
        FormatError, match=r"is not (a tokenizer of the tokenizers library|JSON)"
    ):
        tokenizer_pairs(str(tmp_path), 4)
