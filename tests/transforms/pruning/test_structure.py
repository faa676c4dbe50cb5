"""Units removed from models of every family: shapes, configs, and outputs of the masked model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from msgspec.structs import replace

import explorer as ex
from explorer.architectures.architecture import stages_of
from explorer.architectures.declaration import declare
from explorer.architectures.families import architecture_of
from explorer.errors import InputError
from explorer.models.transformer import Transformer
from explorer.pretrained import from_tensors, to_checkpoint
from explorer.transforms.pruning.patterns import parse_pattern
from explorer.transforms.pruning.structure.architectures import shrunk
from explorer.transforms.pruning.structure.configs import shrunk_config
from explorer.transforms.pruning.structure.shrink import shrink
from tests.conformance import configs
from tests.conformance.configs import VOCAB

CONFIGS = {
    name: value
    for name, value in vars(configs).items()
    if name.isupper() and isinstance(value, dict) and "num_labels" not in value
    if "model_type" in value and name != "VIT"
}
HEADS = [
    "LLAMA", "MISTRAL", "MIXTRAL", "V2", "V3", "QWEN2", "QWEN3", "QWEN3_MOE", "GEMMA", "GEMMA2",
    "GEMMA3", "PHI3", "OLMO", "GPT_OSS", "GROK", "PHI",
]  # fmt: skip
CASES = [
    (name, ("rows:0.25", "columns:0.3")[index % 2]) for index, name in enumerate(CONFIGS)
]
CASES += [(name, "heads:0.5") for name in HEADS]


def made(name: str, seed: int = 0) -> tuple[Any, Any, np.ndarray]:
    """A model with random parameters, biases and gains too, and tokens."""
    model = ex.build_model(CONFIGS[name])
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, VOCAB, (2, 9))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(ids))["params"]
    params = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s.shape, scale=0.3), s.dtype), shapes
    )
    return model, params, ids


def outputs(model: Any, params: Any, ids: np.ndarray) -> np.ndarray:
    found = jax.jit(model.apply)({"params": params}, ids)
    return np.asarray(found.hidden if found.logits is None else found.logits)


@pytest.mark.representatives(
    "LLAMA", "GPT2", "V2", "GEMMA3", "MIXTRAL", "BERT", "PHI", "OPT"
)
@pytest.mark.parametrize(("name", "pattern"), CASES)
def test_a_smaller_model_computes_what_the_masked_one_does(name: str, pattern: str):
    model, params, ids = made(name)
    config = CONFIGS[name]
    found = shrink(model, params, pattern, config=config)
    expected = outputs(model, found.masked, ids)
    assert not np.allclose(outputs(model, params, ids), expected, atol=1e-3)
    np.testing.assert_allclose(
        outputs(found.model, found.params, ids), expected, rtol=2e-4, atol=2e-4
    )
    # what its config describes, counted and laid out
    architecture = architecture_of(found.config or {})
    assert architecture == found.model.architecture
    shapes = {tensor.path: tensor.shape for tensor in declare(architecture)}
    assert shapes == {tuple(t.path): t.shape for t in ex.explore(found.params)}
    change = found.change
    assert change.parameters_before == ex.count_parameters(params) + _buffers(params)
    assert change.parameters_after == sum(a.size for a in jax.tree.leaves(found.params))


def _buffers(params: Any) -> int:
    return sum(t.size for t in ex.explore(params) if not t.kind.is_parameter)


@pytest.mark.parametrize("name", ["GPT2", "V2", "GEMMA3", "MIXTRAL"])
def test_a_smaller_checkpoint_is_read_back(name: str):
    model, params, ids = made(name)
    found = shrink(model, params, "rows:0.25", config=CONFIGS[name])
    assert found.config is not None
    tensors = to_checkpoint(found.params, found.config)
    again, params = from_tensors(found.config, tensors)
    np.testing.assert_array_equal(
        outputs(again, params, ids), outputs(found.model, found.params, ids)
    )
    shapes = {name: array.shape for name, array in tensors.items()}
    assert ex.count_parameters(tensors) == sum(map(np.prod, shapes.values()))


def test_the_least_units_go():
    model, params, _ = made("LLAMA")
    found = shrink(model, params, "rows:0.25")
    for index in (0, 1):
        mlp = params[f"layers_{index}"]["mlp"]
        energy = sum(
            np.square(np.asarray(mlp[n]["kernel"], float)).sum(0)
            for n in ("up_proj", "gate_proj")
        )
        kept = np.sort(np.argsort(energy)[10:])
        after = found.params[f"layers_{index}"]["mlp"]
        assert np.array_equal(after["up_proj"]["kernel"], mlp["up_proj"]["kernel"][:, kept])
        assert np.array_equal(
            after["down_proj"]["kernel"], mlp["down_proj"]["kernel"][kept]
        )


@pytest.mark.parametrize("name", ["LLAMA", "GPT2", "GEMMA2", "V3", "OPT"])
def test_a_model_without_some_layers(name: str):
    """A layer that adds nothing to the residual stream is one that is not there."""
    model, params, ids = made(name)
    found = shrink(model, params, "layers:0.5", "wanda", data=ids, config=CONFIGS[name])
    gone = {t.name.split("/")[0] for t in found.change.tensors if t.note == "removed"}
    masked = dict(params)
    for layer in gone:
        masked[layer] = _quiet(params[layer])
    assert len(gone) == model.architecture.num_layers // 2
    np.testing.assert_allclose(
        outputs(found.model, found.params, ids),
        outputs(model, masked, ids),
        rtol=2e-4,
        atol=2e-4,
    )


def _quiet(layer: Any, inside: str = "") -> Any:
    """A layer whose branches end in zeros: the last projections, and the gains after them."""
    if not isinstance(layer, dict):
        return jnp.zeros_like(layer) - (1.0 if inside == "gain" else 0.0)
    ends = ("out", "down_proj")
    return {
        key: _quiet(value, "end")
        if key in ends or inside == "end"
        else _quiet(value)
        if isinstance(value, dict)
        else value
        for key, value in layer.items()
    }


def test_the_layer_that_changes_least_goes():
    model, params, ids = made("GEMMA3")
    quiet = dict(params) | {"layers_3": _quiet(params["layers_3"])}
    found = shrink(model, quiet, "layers:0.15", "wanda", data=ids)
    gone = {t.name.split("/")[0] for t in found.change.tensors if t.note == "removed"}
    assert gone == {"layers_3"}


@pytest.mark.parametrize("name", ["MIXTRAL", "V2", "QWEN3_MOE", "OLMOE", "GROK"])
def test_experts_go_with_their_rows_of_the_router(name: str):
    """The router of the larger model never selects them: its bias there is minus infinity."""
    model, params, ids = made(name)
    found = shrink(model, params, "experts:0.5", config=CONFIGS[name])
    spec = model.architecture
    blocks = [
        b
        if b.moe is None
        else replace(b, moe=replace(b.moe, router=replace(b.moe.router, bias=True)))
        for b in spec.blocks()
    ]
    larger = Transformer(replace(spec, stages=stages_of(blocks)))
    masked = dict(params)
    for index, block in enumerate(blocks):
        if block.moe is None:
            continue
        layer = f"layers_{index}"
        before = params[layer]["moe"]["router"]["kernel"]
        after = found.params[layer]["moe"]["router"]["kernel"]
        stays = (before[:, :, None] == after[:, None, :]).all(0).any(1)
        assert int(stays.sum()) == block.moe.router.experts // 2
        bias = jnp.where(stays, 0.0, -jnp.inf)
        router = params[layer]["moe"]["router"] | {"bias": bias}
        masked[layer] = params[layer] | {"moe": params[layer]["moe"] | {"router": router}}
    np.testing.assert_allclose(
        outputs(found.model, found.params, ids),
        outputs(larger, masked, ids),
        rtol=2e-4,
        atol=2e-4,
    )


def test_published_sizes():
    """A quarter of the heads of Llama 3.1 8B: whole groups of four queries."""
    llama = ex.build_model("llama-3.1-8b").architecture
    found = next(shrunk(llama, parse_pattern("heads:0.25")).blocks()).attention
    assert (found.heads, found.kv_heads) == (24, 6)
    found = next(shrunk(llama, parse_pattern("heads:0.5")).blocks()).attention
    assert (found.heads, found.kv_heads) == (16, 4)
    gemma = ex.build_model("gemma-3-270m").architecture
    found = next(shrunk(gemma, parse_pattern("heads:0.25")).blocks()).attention
    assert (found.heads, found.kv_heads) == (3, 1)


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        (
            "LLAMA",
            "heads:0.3",
            "heads:0.3 of 4 heads, 2 of which share a key; expected .*1/2",
        ),
        ("BERT", "heads:0.5", "bert has no fields for the model that heads:0.5 leaves"),
        ("OLMO2", "heads:0.5", "heads of queries that are normalised all together"),
        ("LLAMA", "layers:0.2", "layers:0.2 of 2 layers is none; expected at least 1/2"),
        ("LLAMA", "experts:0.5", "which has none; expected a mixture of experts"),
        ("MIXTRAL", "experts:0.75", "leaves 1 of 4 experts; expected at least 2"),
        ("LLAMA", "0.5", "0.5, which removes no units"),
    ],
)
def test_what_cannot_be_removed(name: str, pattern: str, message: str):
    model, params, _ = made(name)
    with pytest.raises(InputError, match=message):
        shrink(model, params, pattern, config=CONFIGS[name])


def test_configs_of_kept_layers():
    config = configs.GEMMA3
    found = shrunk_config(config, parse_pattern("layers:0.5"), [1, 3, 5, 6])
    windows = [b.attention.window for b in architecture_of(config).blocks()]  # pyright: ignore
    after = [b.attention.window for b in architecture_of(found).blocks()]  # pyright: ignore
    assert after == [windows[index] for index in (1, 3, 5, 6)]
    assert found["num_hidden_layers"] == 4


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt_neox"])
def test_heads_that_transformers_would_refuse_are_refused(kind: str):
    """transformers 5.23 makes no config of 6 heads and a width of 256 of these; of mistral it does."""
    config = {
        "hidden_size": 256,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": 100,
    }
    with pytest.raises(InputError, match="6 heads, which do not divide a width of 256"):
        shrunk_config(config | {"model_type": kind}, parse_pattern("heads:0.25"))
    found = shrunk_config(config | {"model_type": "mistral"}, parse_pattern("heads:0.25"))
    assert found["num_attention_heads"] == 6
