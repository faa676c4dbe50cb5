"""Laws of what whole models compute: who sees whom, which outputs, under which transforms."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.architectures.families import architecture_of
from explorer.errors import InputError
from explorer.models.transformer import Transformer
from tests.models.tiny import CONFIGS, IDS, LENGTH, inputs_of, model_of, random_params, run

pytestmark = pytest.mark.slow  # compiles models

KEY = jax.random.key(0)
# between them: every kind of layer, norm, position, mask and router
DECODERS = [
    "gpt2",
    "gpt_neox",
    "mistral",
    "gemma2",
    "gpt_oss",
    "deepseek_v3_yarn",
    "grok-1",
]


# ---- what a token can see


@pytest.mark.parametrize("name", DECODERS)
def test_a_token_changes_nothing_before_it(name):
    logits, at = run(name), 6
    other = IDS.copy()
    other[:, at] = 3 + (IDS[:, at] + 1) % 58
    before, after = np.asarray(logits(IDS)), np.asarray(logits(other))
    np.testing.assert_allclose(after[:, :at], before[:, :at], atol=1e-5)
    assert np.abs(after - before)[:, at:].max(-1).min() > 1e-4


def test_an_encoder_sees_both_ways():
    logits, other = run("bert_pretraining"), IDS.copy()
    other[:, -1] = 3 + (IDS[:, -1] + 1) % 58
    assert (np.abs(logits(other) - logits(IDS)).max(-1) > 1e-4).all()


def test_windows_reach_no_further_than_their_layers():
    architecture = architecture_of(CONFIGS["mistral"])
    window = next(architecture.blocks()).attention.window
    reach = architecture.num_layers * (window - 1)
    assert reach + 1 < LENGTH
    logits, other = run("mistral"), IDS.copy()
    other[:, 0] = 3 + (IDS[:, 0] + 1) % 58
    changed = np.abs(logits(other) - logits(IDS)).max(-1)
    assert (changed[:, : reach + 1] > 1e-6).all()
    assert (changed[:, reach + 1 :] < 1e-6).all()


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_oss", "deepseek_v3_yarn"])
def test_left_padding_changes_no_logits(name):
    logits, pad = run(name), 4
    padded = np.pad(IDS, ((0, 0), (pad, 0)), constant_values=7)
    mask = np.pad(np.ones_like(IDS), ((0, 0), (pad, 0)))
    positions = np.maximum(mask.cumsum(-1) - 1, 0)
    found = logits(padded, attention_mask=mask, position_ids=positions)
    chex.assert_tree_all_finite(found)
    scale = np.abs(logits(IDS)).max()
    np.testing.assert_allclose(found[:, pad:], logits(IDS), atol=1e-5 * scale)


def test_positions_of_roberta_count_what_is_not_padding():
    model, params = model_of("roberta")
    pad = model.architecture.pad_token
    ids = IDS.copy()
    ids[0, :3] = ids[1, -2:] = pad
    numbers = np.zeros_like(ids)
    numbers[0, 3:], numbers[1, :-2] = range(1, LENGTH - 2), range(1, LENGTH - 1)
    hidden = jax.jit(lambda ids, **rest: model.apply(params, ids, **rest).hidden)
    by_default = hidden(ids)
    np.testing.assert_allclose(hidden(ids, position_ids=numbers), by_default, atol=1e-5)
    plain = hidden(ids, position_ids=numbers + 1)
    assert np.abs(plain - by_default).max() > 1e-3


# ---- outputs


@pytest.mark.parametrize(
    ("name", "present"),
    [
        ("llama", ["logits", "hidden"]),
        ("llama_headless", ["hidden"]),
        ("bert", ["hidden", "pooled"]),
        ("bert_mlm", ["logits", "hidden"]),
        ("bert_pretraining", ["logits", "hidden", "pooled", "relationship"]),
        ("vit", ["hidden", "pooled"]),
        ("vit_classes", ["logits", "hidden"]),
    ],
)
def test_a_model_gives_what_it_has_heads_for(name, present):
    model, params = model_of(name)
    inputs = inputs_of(model.architecture)
    outputs = jax.eval_shape(model.apply, params, inputs)._asdict()
    assert [key for key, value in outputs.items() if value is not None] == present


def test_a_classifier_sees_the_pooled_token():
    config = {**CONFIGS["bert"], "architectures": ["BertForSequenceClassification"]}
    architecture = architecture_of({**config, "num_labels": 3})
    params = random_params(architecture)
    outputs = jax.jit(Transformer(architecture).apply)({"params": params}, IDS)
    pooler, classifier = params["pooler"], params["classifier"]
    pooled = np.tanh(outputs.hidden[:, 0] @ pooler["kernel"] + pooler["bias"])
    np.testing.assert_allclose(outputs.pooled, pooled, atol=1e-5)
    expected = pooled @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(outputs.logits, expected, atol=1e-5)


@pytest.mark.parametrize("scan", [False, True], ids=["unrolled", "scanned"])
def test_choices_of_experts_are_sown(scan):
    model, params = model_of("mixtral", scan)
    state = jax.eval_shape(
        lambda p, ids: model.apply(p, ids, mutable="intermediates"), params, IDS
    )[1]["intermediates"]
    router, layers = model.architecture.router, model.architecture.num_layers
    found = jax.tree_util.tree_flatten_with_path(state)[0]
    for name, width in (
        ("expert_indices", router.per_token),
        ("router_logits", router.experts),
    ):
        each = (*IDS.shape, width)
        shapes = [leaf.shape for keys, leaf in found if keys[-2].key == name]
        assert shapes == ([(layers, *each)] if scan else [each] * layers)
    assert {keys[-2].key for keys, _ in found} == {"expert_indices", "router_logits"}


# ---- under transformations


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_jit_changes_no_number(self):
        model, params = model_of("gemma2", changes={"num_hidden_layers": 1})
        found = self.variant(model.apply)(params, IDS).logits
        with jax.disable_jit():
            plain = model.apply(params, IDS).logits
        np.testing.assert_allclose(found, plain, atol=1e-5 * np.abs(plain).max())


def test_a_model_is_traced_once():
    model, params = model_of("gpt_oss", scan=True)
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(n=1)(lambda p, ids: model.apply(p, ids).logits))
    traced(params, IDS)
    traced(jax.tree.map(lambda leaf: leaf + 1, params), IDS[::-1].copy())


def test_gradients_are_finite_and_reach_every_parameter():
    one_layer = {"num_hidden_layers": 1, "first_k_dense_replace": 0}
    model, params = model_of("deepseek_v3_yarn", scan=True, changes=one_layer)
    mask = np.ones_like(IDS)
    mask[1] = 0  # a row of padding alone

    @jax.jit
    @jax.grad
    def gradients(params):
        logits = model.apply(params, IDS, attention_mask=mask).logits
        return jax.nn.log_softmax(logits)[0, :-1].mean()

    found = gradients(params)
    chex.assert_tree_all_finite(found)
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        learns = path[-1].key != "e_score_correction_bias"
        assert np.any(leaf) == learns, path


def test_bfloat16_computes_with_float32_parameters():
    for name in ("llama", "gpt_oss"):
        model, params = model_of(name, dtype=jnp.bfloat16)
        made = jax.eval_shape(model.init, KEY, IDS)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(made)} == {"float32"}
        outputs = jax.eval_shape(model.apply, params, IDS)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(outputs)} == {"bfloat16"}
    model, params = model_of("llama", dtype=jnp.bfloat16)
    exact = run("llama")(IDS)
    rounded = jax.jit(model.apply)(params, IDS).logits.astype(jnp.float32)
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_without_a_dtype_the_parameters_decide():
    model, params = model_of("llama")
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    assert jax.eval_shape(model.apply, half, IDS).logits.dtype == jnp.bfloat16


# ---- bad inputs


@pytest.mark.parametrize(
    ("name", "inputs", "rest", "message"),
    [
        (
            "llama",
            np.ones((2, 5), np.float32),
            {},
            "input_ids: float32 of shape (2, 5); expected integers [batch, length]",
        ),
        (
            "llama",
            IDS[0],
            {},
            "input_ids: int32 of shape (14,); expected integers [batch, length]",
        ),
        (
            "llama",
            IDS,
            {"attention_mask": np.ones(LENGTH)},
            "attention_mask: shape (14,); expected shape (2, 14)",
        ),
        (
            "llama",
            IDS,
            {"position_ids": np.ones((3, LENGTH), int)},
            "position_ids: shape (3, 14); expected shape (2, 14) or (1, 14)",
        ),
        (
            "bert",
            IDS,
            {"token_type_ids": np.ones((2, 3), int)},
            "token_type_ids: shape (2, 3); expected shape (2, 14)",
        ),
        (
            "vit",
            np.ones((2, 3, 12, 8), np.float32),
            {},
            "pixels: shape (2, 3, 12, 8); expected [batch, height, width, channels], "
            "the last three (",
        ),
    ],
)
def test_inputs_of_another_shape_are_reported(name, inputs, rest, message):
    model, params = model_of(name)
    with pytest.raises(InputError) as error:
        jax.eval_shape(model.apply, params, inputs, **rest)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ["gpt2", "roberta"])
def test_a_sequence_may_be_as_long_as_positions_last(name):
    model, params = model_of(name)
    architecture = model.architecture
    table = architecture.position_embed
    longest = table.rows - table.offset - (1 if name == "roberta" else 0)
    ids = np.full((1, longest + 1), 5)
    assert np.isfinite(jax.jit(model.apply)(params, ids[:, :-1]).hidden).all()
    with pytest.raises(InputError) as error:
        model.apply(params, ids)
    assert str(error.value) == (
        f"input_ids: a sequence of {longest + 1} tokens; "
        f"expected at most {longest}, the number of positions"
    )
