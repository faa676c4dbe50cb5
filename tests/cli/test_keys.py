"""Tensors by the names in their source: `show --keys`, and "key" in every record."""

import json
import struct
from pathlib import Path

import numpy as np

from tests.cli.in_process import run

KEYS = (
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.mlp.up.proj/odd name.bias",
)


def test_keys_are_shown_as_the_file_spells_them(tmp_path: Path):
    file = tmp_path / "model.safetensors"
    header = {
        key: {"dtype": "F32", "shape": [2], "data_offsets": [8 * i, 8 * i + 8]}
        for i, key in enumerate(KEYS)
    }
    raw = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(16))
    text = run("show", file, "--keys", COLUMNS="160").stdout
    assert all(f"\n{key}  " in text for key in KEYS)
    shown = json.loads(run("show", file, "--keys", "--format", "json").stdout)
    assert [record["key"] for record in shown["tensors"]] == list(KEYS)
    assert shown["tensors"][0]["path"] == KEYS[0].replace(".", "/")
    every = json.loads(run("show", file, "--all", "--format", "json").stdout)
    assert every["tensors"] == shown["tensors"]


def test_the_key_of_a_path_is_the_joined_path(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **{"dense/kernel": np.ones(2)})
    shown = json.loads(run("show", tmp_path / "a.npz", "--all", "--format", "json").stdout)
    assert shown["tensors"][0]["key"] == "dense/kernel"
    declared = json.loads(run("show", "gpt2", "--keys", "--format", "json").stdout)
    assert declared["tensors"][0]["key"] == declared["tensors"][0]["path"]
