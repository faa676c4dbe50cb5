"""Tensors that do not fit a config raise one line; those that no model needs are ignored."""

from typing import Any

import jax
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.pretrained import arrays, from_tensors, to_checkpoint
from tests.pretrained.test_round_trip import CONFIGS, LLAMA, same
from tests.pretrained.tiny import checkpoint, random_array

QUERY = "model.layers.0.self_attn.q_proj.weight"
CURE = "; give the config that was saved with these weights"
WANTED = f"; expected the 30 tensors of this config's LlamaForCausalLM{CURE}"
FLOATS = (
    "weights in float16, bfloat16, float32, float64, or packed in a known layout with all "
    "their scales beside them"
)


def message(config: dict, tensors: dict, **options: object) -> str:
    with pytest.raises(InputError) as error:
        from_tensors(config, tensors, **options)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_tensor():
    tensors = checkpoint(LLAMA)
    del tensors[QUERY]
    assert message(LLAMA, tensors, place="m") == f"m: lacks {QUERY} [32, 32]{WANTED}"


def test_an_extra_tensor():
    tensors = checkpoint(LLAMA) | {"model.norm.bias": np.zeros(32, "float32")}
    assert (
        message(LLAMA, tensors) == f"config: holds unexpected model.norm.bias [32]{WANTED}"
    )


def test_a_misspelt_tensor_is_reported_from_both_sides():
    tensors = checkpoint(LLAMA)
    tensors["model.layers.0.self_attn.query"] = tensors.pop(QUERY)
    assert message(LLAMA, tensors) == (
        f"config: lacks {QUERY} [32, 32] and holds unexpected "
        f"model.layers.0.self_attn.query [32, 32]{WANTED}"
    )


def test_a_tensor_of_another_shape():
    tensors = checkpoint(LLAMA) | {QUERY: np.zeros((32, 31), "float32")}
    assert message(LLAMA, tensors) == (
        f"config: holds {QUERY} [32, 31] where [32, 32] is expected{WANTED}"
    )


def test_three_are_named_and_the_rest_counted():
    tensors = checkpoint(LLAMA | {"num_hidden_layers": 4})
    assert message(LLAMA, tensors).startswith(
        "config: holds unexpected model.layers.3.self_attn.q_proj.weight [32, 32], "
        "model.layers.3.self_attn.k_proj.weight [32, 32], "
        "model.layers.3.self_attn.v_proj.weight [32, 32] and 6 more; expected the 30 tensors"
    )


def test_a_bare_body_lacks_its_class_head():
    tensors = checkpoint(LLAMA, bare=True)
    del tensors["lm_head.weight"]
    assert message(LLAMA, tensors) == (
        "config: lacks lm_head.weight [40, 32]; expected the 30 tensors of this config's "
        'LlamaForCausalLM; set architectures to ["LlamaModel"], whose tensors these are'
    )
    body = LLAMA | {"architectures": ["LlamaModel"]}
    assert same(to_checkpoint(from_tensors(body, tensors)[1], body), tensors)


def test_no_tensors_at_all():
    assert message(LLAMA, {}).startswith(
        "config: lacks model.embed_tokens.weight [40, 32], "
    )


def test_buffers_are_left_out():
    tensors = checkpoint(LLAMA)
    buffers = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, "float32"),
        "model.layers.0.self_attn.bias": np.ones((1, 1, 8, 8), "uint8"),
        "model.layers.0.self_attn.masked_bias": np.ones((), "float32"),
        "model.embeddings.position_ids": np.ones((1, 8), "int64"),
    }
    params = from_tensors(LLAMA, tensors | buffers)[1]
    assert same(to_checkpoint(params, LLAMA), tensors)


def test_a_layer_that_predicts_further_tokens_is_left_out():
    tensors = checkpoint(LLAMA)
    extra = {
        f"model.layers.3.{name}.weight": np.ones((4, 4), "float32")
        for name in ("eh_proj", "enorm", "self_attn.q_proj", "embed_tokens")
    }
    params = from_tensors(LLAMA, tensors | extra)[1]
    assert same(to_checkpoint(params, LLAMA), tensors)
    del extra["model.layers.3.eh_proj.weight"], extra["model.layers.3.enorm.weight"]
    assert "unexpected model.layers.3.self_attn.q_proj.weight" in message(
        LLAMA, tensors | extra
    )


def test_a_correction_of_scores_is_not_a_buffer_here():
    tensors = checkpoint(LLAMA) | {
        "model.layers.0.mlp.gate.e_score_correction_bias": np.ones(4, "float32")
    }
    assert "holds unexpected model.layers.0.mlp.gate.e_score_corr" in message(
        LLAMA, tensors
    )


TIED = LLAMA | {"tie_word_embeddings": True}


def test_a_second_name_may_be_there_and_must_fit():
    tensors = checkpoint(TIED)
    table = tensors["model.embed_tokens.weight"]
    params = from_tensors(TIED, tensors | {"lm_head.weight": table})[1]
    assert same(to_checkpoint(params, TIED), tensors)
    assert "lm_head.weight [2, 2] where [40, 32] is expected" in message(
        TIED, tensors | {"lm_head.weight": np.ones((2, 2), "float32")}
    )


def test_a_tied_table_may_be_there_by_its_second_name_alone():
    tensors = checkpoint(TIED)
    renamed = dict(tensors)
    renamed["lm_head.weight"] = renamed.pop("model.embed_tokens.weight")
    assert same(to_checkpoint(from_tensors(TIED, renamed)[1], TIED), tensors)


TABLE = "model.embed_tokens.weight"


def test_a_second_name_with_other_values():
    tensors = checkpoint(TIED)
    other = tensors[TABLE].copy()
    other[-1, -1] += 1
    assert message(TIED, tensors | {"lm_head.weight": other}) == (
        f"config: lm_head.weight has other values than {TABLE}; expected the same: they are "
        "two names of one tensor; set tie_word_embeddings to false if they are not tied, or "
        "leave one of them out"
    )


def test_a_second_name_in_another_format_may_hold_the_same_numbers():
    tensors = checkpoint(TIED, "bfloat16")
    wide = tensors[TABLE].astype("float32")
    params = from_tensors(TIED, tensors | {"lm_head.weight": wide})[1]
    assert same(to_checkpoint(params, TIED), tensors)
    wide[0, 0] += 1e-3
    assert "has other values" in message(TIED, tensors | {"lm_head.weight": wide})


def test_a_second_name_of_numbers_that_are_none():
    tensors = checkpoint(TIED)
    tensors[TABLE][0, 0] = np.nan
    params = from_tensors(TIED, tensors | {"lm_head.weight": tensors[TABLE].copy()})[1]
    assert same(to_checkpoint(params, TIED), tensors)


def test_a_second_name_is_compared_to_its_last_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arrays, "_CHUNK", 100)
    tensors = checkpoint(TIED)
    params = from_tensors(TIED, tensors | {"lm_head.weight": tensors[TABLE].copy()})[1]
    assert same(to_checkpoint(params, TIED), tensors)
    other = tensors[TABLE].copy()
    other[-1, -1] += 1
    assert "has other values" in message(TIED, tensors | {"lm_head.weight": other})


def test_a_second_name_of_packed_weights():
    tensors = checkpoint(TIED)
    packed = np.zeros(tensors[TABLE].shape, "int8")
    assert message(TIED, tensors | {"lm_head.weight": packed}).startswith(
        "config: holds lm_head.weight int8, a dtype of quantised weights"
    )


BERT = CONFIGS["google-bert/bert-base-uncased"]
MASKED = BERT | {"architectures": ["BertForMaskedLM"]}


def test_the_two_names_of_the_bias_of_a_masked_head():
    tensors = checkpoint(MASKED)
    second = "cls.predictions.decoder.bias"
    bias = tensors["cls.predictions.bias"]
    params = from_tensors(MASKED, tensors | {second: bias})[1]
    assert same(to_checkpoint(params, MASKED), tensors)
    assert message(MASKED, tensors | {second: bias + 1}).startswith(
        f"config: {second} has other values than cls.predictions.bias; expected the same"
    )


def test_the_class_of_the_published_bert_is_named():
    tensors = checkpoint(BERT | {"architectures": ["BertForPreTraining"]})
    cure = 'set architectures to ["BertForPreTraining"], whose tensors these are'
    assert message(MASKED, tensors).endswith(f"this config's BertForMaskedLM; {cure}")
    reported = BERT | {"architectures": ["BertForPreTraining"]}
    assert same(to_checkpoint(from_tensors(reported, tensors)[1], reported), tensors)


def test_far_more_experts_than_tensors():
    mixtral = CONFIGS["mistralai/Mixtral-8x7B-v0.1"]
    config = mixtral | {"num_local_experts": 300_000, "num_hidden_layers": 3}
    # of each of 3 layers: 3 matrices an expert, 4 of attention, 2 norms, a router; 3 more
    declared = 3 * (3 * 300_000 + 4 + 2 + 1) + 3
    tensors = checkpoint(LLAMA)
    router = "block_sparse_moe.gate.weight"
    assert message(config, tensors) == (
        f"config: lacks model.layers.0.{router} [300000, 32], "
        "model.layers.0.block_sparse_moe.experts.0.w1.weight [48, 32], "
        "model.layers.0.block_sparse_moe.experts.1.w1.weight [48, 32] "
        f"and at least {declared - 30 - 3:,} more; expected the {declared:,} tensors of "
        f"this config's MixtralForCausalLM{CURE}"
    )


@pytest.mark.parametrize(
    ("packing", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "packed"),
    ],
)
def test_a_config_that_speaks_of_packing(packing: dict, words: str):
    assert message(LLAMA | packing, checkpoint(LLAMA)) == (
        f"config: specifies {words} weights; expected {FLOATS}; fetch all files again, or "
        "dequantise them with the library that quantised them, and save the result"
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float8_e4m3fn", "bool"])
def test_formats_of_packed_weights(dtype: str):
    tensors = checkpoint(LLAMA) | {QUERY: random_array("q", (32, 32), dtype)}
    assert message(LLAMA, tensors).startswith(
        f"config: holds {QUERY} {dtype}, a dtype of quantised weights; expected {FLOATS}"
    )


def test_packed_weights_by_other_names():
    tensors = checkpoint(LLAMA)
    del tensors[QUERY]
    tensors["model.layers.0.self_attn.q_proj.qweight"] = np.ones((4, 32), "int32")
    assert "q_proj.qweight holds codes (int32)" in message(LLAMA, tensors)


def test_float64_is_not_rounded_in_silence():
    tensors = checkpoint(LLAMA, "float64")
    assert message(LLAMA, tensors) == (
        "config: model.embed_tokens.weight, model.norm.weight, lm_head.weight and 27 more "
        "would be float64, which JAX rounds; expected float64 enabled, or a smaller dtype; "
        'call jax.config.update("jax_enable_x64", True), or pass dtype="float32"'
    )
    assert "would be float64" in message(LLAMA, checkpoint(LLAMA), dtype="float64")
    table = from_tensors(LLAMA, tensors, dtype="float32")[1]["embed"]["embedding"]
    assert np.array_equal(table, tensors["model.embed_tokens.weight"].astype("float32"))


@pytest.mark.parametrize("dtype", ["int8", "float33", "float8_e4m3fn", 7])
def test_a_dtype_that_is_not_a_float_format(dtype: object):
    assert message(LLAMA, checkpoint(LLAMA), dtype=dtype) == (
        f"dtype: is {dtype}; expected float16, bfloat16, float32, float64"
    )


def test_values_that_are_not_arrays():
    array = "; expected an array of NumPy or JAX"
    assert message(LLAMA, {"x": [1, 2]}) == f"config: x is list{array}"
    shape = jax.ShapeDtypeStruct((2,), "float32")
    assert message(LLAMA, {"x": shape}) == (
        f"config: x is ShapeDtypeStruct, which holds no values{array}"
    )


class OnAnotherDevice:
    """As PyTorch's tensors are that need a gradient or are on a GPU."""

    def __init__(self, error: type[Exception]):
        self.error = error

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise self.error("call .cpu() or .detach() first")


@pytest.mark.parametrize("error", [TypeError, RuntimeError])
def test_values_that_numpy_cannot_reach(error: type[Exception]):
    assert message(LLAMA, {"x": OnAnotherDevice(error)}) == (
        "config: x is OnAnotherDevice, whose values NumPy cannot read; expected an array "
        "of NumPy or JAX that holds values"
    )


@pytest.mark.parametrize(
    ("config", "tensors", "reported"),
    [
        (None, {}, "config is NoneType; expected a dict, the content of a config.json"),
        ("gpt2", {}, "config is str; expected a dict, the content of a config.json"),
        (LLAMA, None, "tensors is NoneType; expected a dict of arrays by name"),
        (LLAMA, [1], "tensors is list; expected a dict of arrays by name"),
        (LLAMA, {3: np.ones(2)}, "the name 3 is int; expected names that are str"),
    ],
)
def test_arguments_of_another_type(config: Any, tensors: Any, reported: str):
    assert message(config, tensors) == f"config: {reported}"


def test_a_model_that_is_not_built():
    config = {"model_type": "mamba"}
    assert message(config, {}, place="c.json").startswith(
        "c.json: model_type 'mamba' is not supported; expected one of "
    )


@pytest.mark.parametrize("model", CONFIGS)
def test_each_family_names_what_it_lacks(model: str):
    tensors = checkpoint(CONFIGS[model])
    name = max(tensors)
    shape = list(tensors.pop(name).shape)
    assert message(CONFIGS[model], tensors).startswith(f"config: lacks {name} {shape};")
