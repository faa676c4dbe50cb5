"""A scheme for each tensor of a tree: llama.cpp's mixes, and those that `sensitivity` proposes."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import explorer as ex
from explorer.api.writing import quantize_file
from explorer.errors import InputError
from tests.conformance.configs import LLAMA
from tests.models.drawn import drawn_params

CONFIG = {**LLAMA, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "head_dim": 64}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any]:
    module = ex.build_model(CONFIG)
    return module, drawn_params(module, jnp.zeros((1, 4), int))


def test_a_mix_is_that_of_the_file(model: tuple[Any, Any], tmp_path: Path):
    """Type by type, byte by byte: the tree saved is the file that is quantised at once."""
    module, params = model
    tree, change = ex.quantize(params, "Q4_K_M", model=module)
    kinds = {each.name: each.after for each in change.tensors}
    assert kinds["layers_1/mlp/up_proj/kernel"] == "q4_k"
    assert kinds["lm_head/kernel"] == "q6_k"
    assert kinds["final_norm/scale"] == "float32"
    ex.save(tree, tmp_path / "tree.gguf", config=CONFIG)
    written = quantize_file(params, "Q4_K_M", tmp_path / "file.gguf", config=CONFIG)
    assert change.bytes_after == written.bytes_after
    import gguf

    ours, theirs = (
        {
            t.name: (t.tensor_type, t.data.tobytes())
            for t in gguf.GGUFReader(tmp_path / name).tensors
        }
        for name in ("tree.gguf", "file.gguf")
    )
    assert ours == theirs


def test_a_checkpoint_has_its_own_layers(model: tuple[Any, Any], tmp_path: Path):
    module, params = model
    ex.save(params, tmp_path / "a", config=CONFIG)
    _, change = ex.quantize(str(tmp_path / "a"), "Q4_K_M")
    _, other = ex.quantize(params, "Q4_K_M", model=module)
    assert change.by_type == other.by_type
    tokens = np.arange(32).reshape(2, 16)
    found = ex.quantize(
        str(tmp_path / "a"), "Q4_K_M", evaluate=ex.Evaluator(module, tokens)
    )
    lost = found[1].evaluation
    assert lost is not None
    assert 0 < lost.divergence < 0.1


def test_where_layers_are_not_known(model: tuple[Any, Any]):
    with pytest.raises(InputError, match=r"Q4_K_M mixes types by layers, .*Q4_K_M:pure gives every matrix q4_k"):  # fmt: skip
        ex.quantize(model[1], "Q4_K_M")
    with pytest.raises(
        InputError, match=r"select: is '.*', with Q4_K_M, which chooses a type"
    ):
        ex.quantize(model[1], "Q4_K_M", "**", model=model[0])
    stacked = ex.build_model({**CONFIG, "num_hidden_layers": 8}, scan=True)
    params = drawn_params(stacked, jnp.zeros((1, 4), int))
    with pytest.raises(
        InputError, match="holds several layers, which Q4_K_M gives different types"
    ):
        ex.quantize(params, "Q4_K_M", model=stacked)


@pytest.mark.parametrize("scheme", ["IQ2_XXS", "IQ3_M", "iq1_s:pure"])
def test_types_without_an_encoder(model: tuple[Any, Any], scheme: str):
    with pytest.raises(
        InputError, match=r"explorer does not encode iq\d_\w+; .*try (Q2_K|Q3_K_M|TQ1_0)"
    ):
        ex.quantize(model[1], scheme, model=model[0])


def test_a_proposed_mix_is_applied():
    rng = np.random.default_rng(0)
    params = {
        name: {"kernel": rng.normal(size=(64, 64)).astype("float32")}
        for name in ("up", "down")
    }

    def logits(params: Any, tokens: Any) -> Any:
        return params["up"]["kernel"][tokens] @ (0.01 * params["down"]["kernel"])

    evaluate = ex.Evaluator(logits, rng.integers(0, 64, (2, 20)))
    found = ex.sensitivity(params, ["int8", "nf4"], evaluate=evaluate, select="**/kernel")
    assert {(c.name, c.scheme) for c in found.costs} == {
        (name, scheme)
        for name in ("up/kernel", "down/kernel")
        for scheme in ("", "int8", "nf4")
    }
    mix = found.mix(4352 + 2304)
    tree, change = ex.quantize(params, mix.schemes)
    assert change.bytes_after == mix.bytes <= 4352 + 2304
    assert {each.name: each.after for each in change.tensors} == mix.schemes
    again = evaluate.compare(params, ex.dequantize(tree))
    assert again.divergence == pytest.approx(mix.divergence, rel=0.5)
    assert "up/kernel" in str(found)
    with pytest.raises(
        InputError, match=r"no tensor matches .up/kernl.; did you mean up/kernel"
    ):
        ex.quantize(params, {"up/kernl": "nf4"})
