"""Adapters from somewhere else: one line for each fault, in bounded time, and nothing is changed."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.transforms.adapters.patterns import ModulePatterns
from explorer.transforms.adapters.peft_files import read_peft
from tests.cli.in_process import run

PREFIX = "base_model.model.dense.lora_"
PARAMS = {"dense": {"kernel": jnp.ones((8, 4))}}
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}


def folder_of(path: Path, config: Any = None, rank: int = 2, other: Any = None) -> Path:
    """Write a folder of adapters; a config may be the bytes of the file."""
    path.mkdir()
    raw = config if isinstance(config, bytes) else json.dumps(config or CONFIG).encode()
    (path / "adapter_config.json").write_bytes(raw)
    tensors = {
        f"{PREFIX}A.weight": np.ones((rank, 8), np.float32),
        f"{PREFIX}B.weight": np.ones((4, rank), np.float32),
    }
    save_file(tensors | (other or {}), path / "adapter_model.safetensors")
    return path


def test_a_right_folder(tmp_path: Path):
    adapters = ex.load_lora(folder_of(tmp_path / "a"), PARAMS)
    merged, _ = ex.merge_lora(PARAMS, adapters)
    assert merged["dense"]["kernel"][0, 0] == 1 + 2 * 4 / 2


CONFIGS = {
    "nested": (b'{"peft_type":"LORA","a":' + b"[" * 100_000, "nested too deeply"),
    "not UTF-8": (b'{"peft_type":"LORA\xff"}', "is not as peft writes it"),
    "not an object": (b"[]", "is not as peft writes it"),
    "1e999": (b'{"peft_type":"LORA","r":2,"lora_alpha":1e999}', "is not as peft writes it"),
    "NaN": (b'{"peft_type":"LORA","r":2,"lora_alpha":NaN}', "is not as peft writes it"),
    "rank of zero": ({**CONFIG, "r": 0}, "r is 0; expected a rank from 1 to 1,048,576"),
    "huge rank": ({**CONFIG, "r": 1 << 62}, "expected a rank from 1 to 1,048,576"),
    "rank of a pattern": (
        {**CONFIG, "rank_pattern": {"dense": -1}},
        "dense is -1; expected a rank from 1",
    ),
    "another rank": ({**CONFIG, "r": 3}, "has rank 2; expected 3"),
    "search without end": (
        {**CONFIG, "rank_pattern": {"(d+)+x": 2}},
        "rank_pattern has (d+)+x, whose search may take very long",
    ),
    "many searches": (
        {**CONFIG, "alpha_pattern": {f"[a]{n}": 2 for n in range(200)}},
        "alpha_pattern has 200 regular expressions",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(name: str, tmp_path: Path):
    config, message = CONFIGS[name]
    folder = folder_of(tmp_path / "a", config)
    begin = time.process_time()
    done = run("lora", "show", folder)
    assert time.process_time() - begin < 60  # a search without end would not end
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a fifo": _fifo,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("what", SPECIAL)
@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_special_files(what: str, file: str, tmp_path: Path):
    folder = folder_of(tmp_path / "a")
    SPECIAL[what](folder / file)
    done = run("lora", "show", folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("shape", [(0, 8), (2, 0), (2,), (2, 8, 1), (2, 9)])
def test_shapes(shape: tuple[int, ...], tmp_path: Path):
    false = {f"{PREFIX}A.weight": np.ones(shape, np.float32)}
    with pytest.raises(ex.InputError) as caught:
        ex.load_lora(folder_of(tmp_path / "a", other=false), PARAMS)
    assert "\n" not in str(caught.value)


def test_a_folder_beside_is_not_taken_over(tmp_path: Path):
    """What has the hidden name that a folder is written under stays as it is."""
    adapters = ex.add_lora(PARAMS, 2, "dense")[0]
    beside = tmp_path / f".new.{os.getpid()}"
    beside.mkdir()
    (beside / "thesis.txt").write_text("mine")
    (tmp_path / f".new.{os.getpid()}.0").symlink_to("nowhere")
    ex.save_lora(adapters, tmp_path / "new")
    assert (beside / "thesis.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path / "new")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert len(os.listdir(tmp_path)) == 3


def test_elements_that_peft_does_not_store(tmp_path: Path):
    adapters = ex.add_lora(PARAMS, 2, "dense", dtype="float8_e4m3fn")[0]
    with pytest.raises(ex.InputError, match="is float8_e4m3fn; expected float32 or"):
        ex.save_lora(adapters, tmp_path / "new")
    assert os.listdir(tmp_path) == []


def test_patterns_as_peft_finds_them():
    import re

    pattern = {
        r"layers\.[01]\..*": 2,
        "q_proj": 4,
        "1.q_proj": 8,
        r"(k|v)_proj": 16,
        "v": 3,
    }
    ours = ModulePatterns.of(pattern)
    for layer in range(3):
        for last in ("q_proj", "k_proj", "v_proj", "v", "xv"):
            module = f"model.layers.{layer}.attn.{last}"
            theirs = (v for k, v in pattern.items() if re.match(rf"(.*\.)?({k})$", module))
            assert ours.value(module, 1) == next(theirs, 1)


def test_the_weights_that_are_read(tmp_path: Path):
    stored = read_peft(
        str(folder_of(tmp_path / "a", {**CONFIG, "alpha_pattern": {"d.*": 8}}))
    )
    assert stored.modules["dense"].alpha == 8
