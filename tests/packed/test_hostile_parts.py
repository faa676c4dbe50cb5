"""False companions of packed weights: a remark or one line, and never another error."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import explorer as ex
from explorer.packed.tables import bitsandbytes, bitsandbytes_shape
from explorer.pretrained.pieces import vocabulary_of
from explorer.pretrained.tokens import text_tokens
from tests.cli.in_process import run

STATE = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [4, 64]}


def parts_of(state: Any, **other: np.ndarray) -> dict[str, np.ndarray]:
    raw = state if isinstance(state, bytes) else json.dumps(state).encode()
    return {
        "weight": np.full((128, 1), 0x7F, np.uint8),
        "absmax": np.ones(4, np.float32),
        "quant_map": np.linspace(-1, 1, 16, dtype=np.float32),
        "quant_state/bitsandbytes__nf4": np.frombuffer(raw, np.uint8),
        **other,
    }


STATES = {
    "right": STATE,
    "nested": b'{"shape":' + b"[" * 50_000,
    "long": b" " * 70_000 + b"{}",
    "blocks of zero": STATE | {"blocksize": 0},
    "negative blocks": STATE | {"blocksize": -64},
    "huge blocks": STATE | {"blocksize": 1 << 70},
    "blocks of text": STATE | {"blocksize": "64"},
    "another shape": STATE | {"shape": [4, 6400]},
    "endless shape": STATE | {"shape": [1e999, 1]},
    "negative shape": STATE | {"shape": [-4, -64]},
    "no shape": {"blocksize": 64},
    "a list": [],
}


@pytest.mark.parametrize("name", STATES)
def test_states_of_bitsandbytes(name: str, tmp_path: Any):
    parts = parts_of(STATES[name])
    tensors = {
        "lin.weight" if key == "weight" else f"lin.weight.{key.replace('/', '.')}": array
        for key, array in parts.items()
    }
    save_file(tensors, tmp_path / "a.safetensors")
    found = ex.describe(tmp_path / "a.safetensors")
    assert found.tensors
    if name == "right":
        assert (
            bitsandbytes(parts, bitsandbytes_shape(parts), slice(0, 4)).decoded().size
            == 256
        )


@pytest.mark.parametrize("size", [0, 8, 15, 17])
def test_tables_of_another_size(size: int):
    parts = parts_of(STATE, quant_map=np.ones(size, np.float32))
    with pytest.raises(ValueError, match=rf"quant_map is \[{size}\], not \[16\]"):
        bitsandbytes(parts, (4, 64), slice(0, 1))


# ---- tokenizers

VOCABULARY: dict[str, Any] = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["a", "b", "ab"],
    "tokenizer.ggml.scores": [0.0, 0.0, -1.0],
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scores", [0.0], "1 scores for 3 tokens"),
        ("scores", ["x", "y", "z"], "scores that are not numbers"),
        ("tokens", [1, 2, 3], "3 scores for 3 tokens that are texts"),
        ("bos_token_id", 9, "none of number 9"),
        ("bos_token_id", -1, "none of number -1"),
        ("unknown_token_id", 1 << 40, "none of number"),
    ],
)
def test_vocabularies(key: str, value: Any, message: str):
    assert vocabulary_of(VOCABULARY)
    with pytest.raises(ValueError, match=message):
        vocabulary_of(VOCABULARY | {f"tokenizer.ggml.{key}": value})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"model": {"type": "BPE", "vocab": {"a": -1}}}',
    ],
)
def test_tokenizer_files(raw: bytes, tmp_path: Any):
    (tmp_path / "tokenizer.json").write_bytes(raw)
    with pytest.raises(ex.InputError) as caught:
        text_tokens(str(tmp_path), "abc")
    assert "\n" not in str(caught.value)


def test_a_fifo_as_a_tokenizer(tmp_path: Any):
    import os

    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(ex.InputError, match="is not a regular file"):
        text_tokens(str(tmp_path), "abc")


@pytest.mark.parametrize(
    ("file", "part", "other"),
    [
        ("awq", "up.qweight", np.zeros((0, 1), np.int32)),
        ("awq", "up.qweight", np.zeros((0,), np.int32)),
        ("hqq_4_0", "up.nbits", np.zeros((0,), np.uint8)),
    ],
)
@pytest.mark.parametrize("command", ["stats", "convert", "quantize"])
def test_parts_without_elements(
    file: str, part: str, other: np.ndarray, command: str, tmp_path: Path
):
    source, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    arrays = load_file(
        Path(__file__).parents[1] / "data" / "packed" / f"{file}.safetensors"
    )
    assert part in arrays
    save_file({**arrays, part: other}, source)
    more = {"convert": [out], "quantize": ["--to", "int8", "-o", out]}.get(command, [])
    done = run(command, source, *more)
    assert done.returncode in (0, 2)
    assert done.returncode == 0 or done.stderr.count("\n") == 1
    assert out.exists() == (done.returncode == 0 and command != "stats")
