"""Attention by cuDNN: told the same as what XLA's is masked with, and refused where it has none."""

from functools import partial

import jax
import msgspec
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.models.attention import attend_by_cudnn
from tests.models.tiny import IDS, model_of

BY_JAX = jax.nn.dot_product_attention
PLACE = "Transformer(implementation=): "


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", ["llama", "mistral", "bert", "gpt2"])
def test_cudnn_is_told_what_the_mask_hides(name, scan, monkeypatch):
    asked = []

    def by_jax(*arrays, implementation, **options):
        asked.append(implementation)
        return BY_JAX(*arrays, implementation="xla", **options)  # which all machines have

    changes = {"sliding_window": 5} if name == "mistral" else {}
    model, variables = model_of(name, scan, changes)
    mask = np.ones(IDS.shape, np.int32)
    mask[0, -4:] = 0
    run = partial(model.apply, variables, IDS, attention_mask=mask)
    wanted = run().hidden
    monkeypatch.setattr(jax.nn, "dot_product_attention", by_jax)
    fused = model.clone(implementation="cudnn")
    found = fused.apply(variables, IDS, attention_mask=mask).hidden
    assert set(asked) == {"cudnn"}
    np.testing.assert_allclose(found[mask == 1], wanted[mask == 1], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gemma2", "its logits are bounded by tanh"),
        ("gpt_oss", "it has sinks"),
        ("deepseek_v3", "its values are shorter than its keys"),
    ],
)
def test_what_cudnn_has_not_is_refused(name, why):
    model, variables = model_of(name, implementation="cudnn")
    with pytest.raises(InputError) as caught:
        model.apply(variables, IDS)
    assert str(caught.value) == (
        f"{PLACE}'cudnn' for attention that it cannot do: {why}; "
        "expected None, for what XLA compiles"
    )


def test_so_is_a_window_to_both_sides():
    model, _ = model_of("llama")
    spec = model.architecture.stages[0].blocks[0].attention
    both = msgspec.structs.replace(spec, causal=False, window=3)
    heads = np.ones((1, 5, 2, 4), np.float32)
    with pytest.raises(InputError, match="its window is to both sides"):
        attend_by_cudnn(both, heads, heads, heads, None)


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_an_unknown_implementation_is_refused(name):
    model, variables = model_of(name, implementation="flash")
    with pytest.raises(InputError) as caught:
        model.apply(variables, IDS)
    assert str(caught.value) == f"{PLACE}'flash'; expected None, 'xla' or 'cudnn'"
