"""A GGUF file and the checkpoint that it was made of are the same model."""

import sys
from pathlib import Path

import gguf
import jax
import msgspec
import numpy as np
import pytest

from explorer.architectures.attention_specs import RopeScaling
from explorer.errors import FormatError, InputError, MissingPackageError
from explorer.pretrained import config_of, from_tensors, load_pretrained, to_checkpoint
from explorer.pretrained.gguf.config import ARCHITECTURES
from tests.pretrained.gguf_files import write
from tests.pretrained.test_round_trip import CONFIGS, LLAMA, same
from tests.pretrained.tiny import checkpoint

# what a published config leaves to its class, and a converter writes out
UNSET = {
    "gemma3_text": {"rope_theta": 1e6},
    "gpt_neox": {"hidden_act": "gelu"},
    "olmo": {"layer_norm_eps": 1e-5},
    "olmo2": {"rms_norm_eps": 1e-5},
}
MADE = {
    model: config
    for model, config in CONFIGS.items()
    if config["model_type"] in (*ARCHITECTURES, "mixtral", "qwen3_moe", "gemma3_text")
    or config["model_type"] in ("gpt_neox", "gpt_oss", "deepseek_v2", "deepseek_v3")
}
EXACT = 1e-6  # a gain that 1 was added to in float32 and taken from again


def load_both(tmp_path: Path, config: dict, tensors: dict, **written: object) -> tuple:
    """The module and parameters of a checkpoint and of the GGUF file made of it."""
    path = write(tmp_path / "m.gguf", config, tensors, **written)  # pyright: ignore
    return from_tensors(config, tensors), load_pretrained(path)


def assert_same(expected: dict, found: dict) -> None:
    assert jax.tree.structure(expected) == jax.tree.structure(found)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=EXACT), expected, found)


@pytest.mark.parametrize("model", MADE)
def test_every_family(tmp_path: Path, model: str):
    config = MADE[model] | UNSET.get(MADE[model]["model_type"], {})
    (module, params), (found, loaded) = load_both(tmp_path, config, checkpoint(config))
    assert_same(params, loaded)
    published = module.architecture.dtype
    assert (
        msgspec.structs.replace(found.architecture, dtype=published) == module.architecture
    )


@pytest.mark.parametrize("scan", [False, True])
def test_plain_formats_are_kept(tmp_path: Path, scan: bool):
    tensors = checkpoint(LLAMA, "float16")
    path = write(tmp_path / "m.gguf", LLAMA, tensors)
    params = load_pretrained(path, scan=scan)[1]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float16"}
    assert_same(from_tensors(LLAMA, tensors, scan=scan)[1], params)
    assert same(to_checkpoint(params, config_of(path)), tensors)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_1", "BF16"])
def test_blocks_are_dequantised_as_the_reference_does(tmp_path: Path, kind: str):
    config = LLAMA | {"intermediate_size": 64}
    number = gguf.GGMLQuantizationType[kind]
    tensors = checkpoint(config)
    path = write(tmp_path / "m.gguf", config, tensors, kind=number)
    rounded = {
        name: gguf.dequantize(gguf.quantize(array, number), number)
        if array.ndim > 1
        else array
        for name, array in tensors.items()
    }
    # rows of queries and keys move as a whole, and blocks are in rows
    assert_same(from_tensors(config, rounded)[1], load_pretrained(path)[1])
    narrow = load_pretrained(path, dtype="bfloat16")[1]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(narrow)} == {"bfloat16"}


def test_a_head_of_its_own_and_a_tied_one(tmp_path: Path):
    for tied in (False, True):
        config = LLAMA | {"tie_word_embeddings": tied}
        (_, params), (module, loaded) = load_both(tmp_path, config, checkpoint(config))
        assert module.architecture.tied is tied
        assert ("lm_head" in loaded) is not tied
        assert_same(params, loaded)


def test_biases_are_turned_with_their_rows(tmp_path: Path):
    config = LLAMA | {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 2}
    (_, params), (module, loaded) = load_both(tmp_path, config, checkpoint(config))
    assert module.architecture.stages[0].blocks[0].mlp.up_proj.bias
    assert_same(params, loaded)


def llama3_factors(size: int, theta: float, factor: float) -> np.ndarray:
    """What frequencies are divided by in Llama 3 (its release, llama/model.py)."""
    factors = []
    for index in range(size // 2):
        length = 2 * np.pi * theta ** (2 * index / size)
        if length < 8192 / 4:
            factors.append(1.0)
        elif length > 8192:
            factors.append(factor)
        else:
            smooth = (8192 / length - 1) / 3
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, "float32")


def with_factors(tmp_path: Path, factors: np.ndarray) -> Path:
    config = LLAMA | {"head_dim": 64, "rope_theta": 500_000.0}
    beside = {"rope_freqs.weight": factors}
    return write(tmp_path / "m.gguf", config, checkpoint(config), beside=beside)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_scaling_of_llama_3_is_read_off_its_factors(tmp_path: Path, factor: float):
    path = with_factors(tmp_path, llama3_factors(64, 500_000.0, factor))
    architecture = load_pretrained(path)[0].architecture
    expected = RopeScaling("llama3", factor, 8192, low=1.0, high=4.0)
    for block in architecture.blocks():
        assert block.attention.rope is not None
        assert block.attention.rope.scaling == expected


def test_factors_of_another_scaling_are_refused(tmp_path: Path):
    path = with_factors(tmp_path, np.linspace(1, 4, 32, dtype="float32"))
    assert refused(path) == (
        f"{path}: rope_freqs.weight holds factors of another scaling than Llama 3's; "
        "expected those of original length 8192, low factor 1, high factor 4"
    )


YARN = {
    "factor": 40.0,
    "original_max_position_embeddings": 4096,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
WRITTEN_YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 40.0,
    "rope.scaling.original_context_length": 4096,
    "rope.scaling.yarn_beta_fast": 32.0,
    "rope.scaling.yarn_beta_slow": 1.0,
}


@pytest.mark.parametrize(
    ("model", "scaling", "more"),
    [
        ("openai/gpt-oss-20b", YARN | {"truncate": False}, WRITTEN_YARN),
        (
            "deepseek-ai/DeepSeek-V3",
            YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
            WRITTEN_YARN | {"rope.scaling.yarn_log_multiplier": 0.0707},
        ),
        (
            "google/gemma-3-270m",
            {"rope_type": "linear", "factor": 8.0},
            {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0},
        ),
    ],
)
def test_scalings(tmp_path: Path, model: str, scaling: dict, more: dict):
    config = MADE[model] | UNSET.get(MADE[model]["model_type"], {})
    config |= {"rope_scaling": {"rope_type": "yarn"} | scaling}
    (module, _), (found, _) = load_both(tmp_path, config, checkpoint(config), more=more)
    assert list(found.architecture.blocks()) == list(module.architecture.blocks())


def test_long_factors_are_tensors(tmp_path: Path):
    config = MADE["microsoft/Phi-3-mini-4k-instruct"] | {"max_position_embeddings": 64}
    long, short = [1.5, 2.5, 3.5, 4.5], [1.0, 1.1, 1.2, 1.3]
    factors = {"rope_factors_long": long, "rope_factors_short": short}
    config |= {
        "rope_scaling": {"type": "longrope", "long_factor": long, "short_factor": short},
        "original_max_position_embeddings": 16,
    }
    tensors = checkpoint(config)
    more = {"rope.scaling.original_context_length": 16}
    beside = {f"{n}.weight": np.array(f, "float32") for n, f in factors.items()}
    path = write(tmp_path / "m.gguf", config, tensors, more, beside=beside)
    found, loaded = load_pretrained(path)
    module, params = from_tensors(config, tensors)
    assert_same(params, loaded)
    assert list(found.architecture.blocks()) == list(module.architecture.blocks())


def refused(path: Path, kind: type[InputError] = InputError) -> str:
    with pytest.raises(kind) as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_architecture_that_is_not_translated(tmp_path: Path):
    path = write(tmp_path / "m.gguf", {"model_type": "mamba", "num_hidden_layers": 0}, {})
    assert refused(path) == (
        f"{path}: general.architecture is 'mamba'; expected one of "
        + ", ".join(ARCHITECTURES)
    )


def test_metadata_that_is_missing_or_wrong(tmp_path: Path):
    tensors = checkpoint(LLAMA)
    config = {key: value for key, value in LLAMA.items() if key != "hidden_size"}
    path = write(tmp_path / "m.gguf", config, tensors)
    assert refused(path) == f"{path}: llama.embedding_length is missing"
    path = write(tmp_path / "m.gguf", LLAMA, tensors, {"block_count": "three"})
    assert refused(path) == f"{path}: llama.block_count is 'three'; expected an int"
    path = write(tmp_path / "m.gguf", LLAMA, tensors, {"attention.head_count": 0})
    assert refused(path).startswith(
        f"{path}: llama.attention.head_count is 0; expected 1 to"
    )


def test_a_file_without_a_model(tmp_path: Path):
    path = write(tmp_path / "m.gguf", LLAMA, {})
    assert refused(path) == (
        f"{path}: lacks token_embd.weight; expected the weights of a model"
    )


def test_a_tensor_that_is_missing_is_named_as_the_file_would_name_it(tmp_path: Path):
    tensors = checkpoint(LLAMA)
    del tensors["model.layers.1.self_attn.q_proj.weight"]
    path = write(tmp_path / "m.gguf", LLAMA, tensors)
    assert refused(path).startswith(
        f"{path}: lacks blk.1.attn_q.weight [32, 32]; expected the 30 tensors of"
    )


@pytest.mark.parametrize("kept", [0, 10, 1000, -100])
def test_a_file_cut_short(tmp_path: Path, kept: int):
    path = write(tmp_path / "m.gguf", LLAMA, checkpoint(LLAMA))
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(path, FormatError).startswith(f"{path}: ")


def test_without_the_gguf_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = LLAMA | {"intermediate_size": 64}
    kind = gguf.GGMLQuantizationType.Q8_0
    path = write(tmp_path / "m.gguf", config, checkpoint(config), kind=kind)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install -e '.[gguf]' in the repository" in refused(
        path, MissingPackageError
    )
