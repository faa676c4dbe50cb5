"""Attention by cuDNN: equal to XLA's with a mask, and rejected where it is not supported."""

from functools import partial

import jax
import msgspec
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.models.attention import attend_with_cudnn
from tests.models.tiny import IDS, model_of

pytestmark = pytest.mark.slow  # compiles models

BY_JAX = jax.nn.dot_product_attention
PLACE = "Transformer(implementation=): "


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", ["llama", "mistral", "bert", "gpt2"])
def test_options_for_cudnn_equal_the_mask(name, scan, monkeypatch):
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
def test_what_cudnn_does_not_support_is_rejected(name, why):
    model, variables = model_of(name, implementation="cudnn")
    with pytest.raises(InputError) as caught:
        model.apply(variables, IDS)
    assert str(caught.value) == (
        f"{PLACE}'cudnn' for attention that it does not support: {why}; "
        "expected None, which compiles it with XLA"
    )


def test_a_window_on_both_sides_is_rejected():
    model, _ = model_of("llama")
    spec = model.architecture.stages[0].blocks[0].attention
    both = msgspec.structs.replace(spec, causal=False, window=3)
    heads = np.ones((1, 5, 2, 4), np.float32)
    with pytest.raises(InputError, match="its window is on both sides"):
        attend_with_cudnn(both, heads, heads, heads, None)


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_an_unknown_implementation_is_rejected(name):
    model, variables = model_of(name, implementation="flash")
    with pytest.raises(InputError) as caught:
        model.apply(variables, IDS)
    assert str(caught.value) == f"{PLACE}'flash'; expected None, 'xla' or 'cudnn'"
