"""Errors about a GGUF file name its own keys; the folders a GGUF file may be in."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.pretrained import config_of, load_pretrained, to_checkpoint
from tests.formats.gguf_bytes import save
from tests.pretrained.gguf_files import converted, metadata, write
from tests.pretrained.test_round_trip import CONFIGS, LLAMA, same
from tests.pretrained.tiny import checkpoint

pytestmark = pytest.mark.filterwarnings("error")  # of NumPy, say
GROUPED = LLAMA | {"num_key_value_heads": 2}


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def reported(tmp_path: Path, more: dict, config: dict = LLAMA, **written: object) -> str:
    """The error about a file with some metadata changed."""
    path = write(tmp_path / "m.gguf", config, checkpoint(config), more, **written)  # pyright: ignore
    return refused(path).removeprefix(f"{path}: ")


@pytest.mark.parametrize("size", [3, 10])
def test_rotary_entries_that_no_head_has(tmp_path: Path, size: int):
    assert reported(tmp_path, {"rope.dimension_count": size}) == (
        f"rotary positions over {size} of a head's 8 entries (llama.rope.dimension_count); "
        "expected an even number from 2 to all of them"
    )


def test_the_base_of_rotary_positions(tmp_path: Path):
    assert reported(tmp_path, {"rope.freq_base": 0.5}) == (
        "llama.rope.freq_base is 0.5; expected a number above 1"
    )


def test_a_feed_forward_network_without_a_size(tmp_path: Path):
    config = {key: value for key, value in LLAMA.items() if key != "intermediate_size"}
    path = write(tmp_path / "m.gguf", config, checkpoint(LLAMA))
    assert refused(path) == f"{path}: llama.feed_forward_length is missing"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("attention.value_length", 6, "8, the length of queries and keys"),
        ("vocab_size", 99, "40, the rows of token_embd.weight"),
    ],
)
def test_metadata_that_contradict_the_rest(
    tmp_path: Path, key: str, value: int, expected: str
):
    assert (
        reported(tmp_path, {key: value}) == f"llama.{key} is {value}; expected {expected}"
    )


def test_values_of_gpt2_are_as_long_as_its_keys(tmp_path: Path):
    config = CONFIGS["openai-community/gpt2"]
    assert reported(tmp_path, {"attention.value_length": 6}, config) == (
        "gpt2.attention.value_length is 6; expected 8, the length of queries and keys"
    )


def test_errors_of_the_translated_config_name_keys(tmp_path: Path):
    assert reported(tmp_path, {"attention.head_count": 3}, GROUPED).startswith(
        "llama.attention.head_count 3 is not a multiple of llama.attention.head_count_kv 2; "
        "expected llama.attention.head_count_kv that divides llama.attention.head_count"
    )
    mixture = CONFIGS["Qwen/Qwen3-30B-A3B"]
    assert reported(tmp_path, {"expert_used_count": 9}, mixture) == (
        "qwen3moe.expert_used_count 9 is above qwen3moe.expert_count 4; expected 1 to 4"
    )


def test_a_misfit_names_the_file_alone(tmp_path: Path):
    assert reported(tmp_path, {"block_count": 2}).endswith(
        "and 6 more; expected the 21 tensors of the model in its metadata; "
        "download or convert it again"
    )


@pytest.mark.parametrize(
    "factors", [[0, 0, 0, 0], [0, np.nan, 1, 1], [1, 1, 1, 0.5], [1, 2, 3, np.inf]]
)
def test_invalid_factors(tmp_path: Path, factors: list[float]):
    beside = {"rope_freqs.weight": np.array(factors, "float32")}
    assert reported(tmp_path, {}, beside=beside) == (
        "rope_freqs.weight holds factors of another scaling than Llama 3's; expected those "
        "of original length 8192, low factor 1, high factor 4"
    )


def test_factors_of_another_head(tmp_path: Path):
    beside = {"rope_freqs.weight": np.ones(200, "float32")}
    assert reported(tmp_path, {}, beside=beside) == (
        "rope_freqs.weight has 200 entries; expected 4, half the rotary entries of a head"
    )
    beside = {
        "rope_factors_long.weight": np.ones(4, "float32"),
        "rope_factors_short.weight": np.ones(3, "float32"),
    }
    assert reported(tmp_path, {}, beside=beside) == (
        "rope_factors_short.weight has 3 entries; expected 4, half the rotary entries of a "
        "head"
    )


def beside_config(folder: Path, config: dict | None) -> Path:
    """A folder with a GGUF file, and perhaps a config.json."""
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    write(folder / "weights.gguf", LLAMA, checkpoint(LLAMA))
    return folder


@pytest.mark.parametrize("config", [None, LLAMA, {"model_type": "mamba"}])
def test_a_folder_with_one_file(tmp_path: Path, config: dict | None):
    folder = beside_config(tmp_path, config)
    params = load_pretrained(folder)[1]
    assert config_of(folder) == config_of(folder / "weights.gguf")
    assert same(to_checkpoint(params, LLAMA), checkpoint(LLAMA))


def test_a_folder_with_a_set(tmp_path: Path):
    tensors = list(converted(LLAMA, checkpoint(LLAMA), "llama").items())
    for number in range(2):
        path = tmp_path / f"m-{number + 1:05d}-of-00002.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(tensors))
        # the first part has what is said of the model
        for key, value in () if number else metadata(LLAMA).items():
            if isinstance(value, float):
                writer.add_float32(f"llama.{key}", value)
            else:
                writer.add_uint32(f"llama.{key}", value)
        for name, array in tensors[number::2]:
            writer.add_tensor(name, array)
        save(writer)
    assert same(to_checkpoint(load_pretrained(tmp_path)[1], LLAMA), checkpoint(LLAMA))


def test_a_folder_with_several_files(tmp_path: Path):
    folder = beside_config(tmp_path, LLAMA)
    write(folder / "b.gguf", LLAMA, checkpoint(LLAMA))
    assert refused(folder) == (
        f"{folder}: holds 2 .gguf files and no index; expected one of them as target: "
        "b.gguf, weights.gguf"
    )
