"""Rows that several sequences share: each gets what it gets alone, in every family."""

import jax
import numpy as np
import pytest

from explorer.errors import InputError
from tests.models.tiny import CONFIGS, model_of

pytestmark = pytest.mark.slow  # compiles models

LENGTHS = (5, 1, 7)
TOKENS = np.random.default_rng(5).integers(3, 61, (2, 16))
SEGMENTS = np.zeros((2, 16), np.int32)
SEGMENTS[0, :13] = np.repeat((1, 2, 3), LENGTHS)
SEGMENTS[1, :12] = np.repeat((4, 9), (7, 5))  # of the same lengths: programs are shared
# rotation that depends on the longest sequence of a batch, and images
_OTHERS = {"llama_dynamic", "phi3_longrope_short", "phi3_longrope_long"}
_NAMES = [name for name in CONFIGS if name not in _OTHERS and not name.startswith("vit")]


@pytest.mark.representatives(
    "mixtral_window", "gemma3", "deepseek_v3", "gpt2", "bert", "roberta", "gpt_oss"
)
@pytest.mark.parametrize("name", _NAMES)
def test_each_sequence_of_a_row_has_the_hidden_states_that_it_has_alone(name: str):
    model, variables = model_of(name)
    apply = jax.jit(model.apply)
    packed = np.asarray(apply(variables, TOKENS, segment_ids=SEGMENTS).hidden)
    assert np.isfinite(packed).all()
    for row, number in ((0, 1), (0, 2), (0, 3), (1, 4), (1, 9)):
        own = SEGMENTS[row] == number
        alone = np.asarray(apply(variables, TOKENS[row : row + 1, own]).hidden)[0]
        scale = np.abs(alone).max()
        np.testing.assert_allclose(packed[row, own] / scale, alone / scale, atol=2e-5)


def test_layers_that_are_stacked_agree():
    for name in ("llama", "gemma3"):
        found = [
            jax.jit(model.apply)(variables, TOKENS, segment_ids=SEGMENTS).hidden
            for model, variables in (model_of(name), model_of(name, scan=True))
        ]
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"attention_mask": SEGMENTS > 0},
            "given with attention_mask; expected without; 0 in",
        ),
        (
            {"segment_ids": SEGMENTS[:, :4]},
            r"shape \(2, 4\); expected shape \(2, 16\)",
        ),
        (
            {"segment_ids": SEGMENTS.tolist()},
            r"segment_ids: a list; expected shape",
        ),
    ],
)
def test_what_contradicts_is_refused(more: dict, text: str):
    model, variables = model_of("llama")
    with pytest.raises(InputError, match=text):
        model.apply(variables, TOKENS, **({"segment_ids": SEGMENTS} | more))


def test_fused_attention_images_and_caches_are_refused():
    model, variables = model_of("llama", implementation="cudnn")
    with pytest.raises(InputError, match="its rows hold several sequences"):
        model.apply(variables, TOKENS, segment_ids=SEGMENTS)
