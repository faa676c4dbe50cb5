"""GGUF files beside models, and the tensor types of llama.cpp's forks."""

from math import prod
from pathlib import Path

import pytest

import explorer as ex
from explorer.errors import FormatError
from tests.formats.gguf_bytes import B, written

TEXT, FLOAT, WORD = 8, 6, 4
ROWS = ("blk.0.attn_q.weight", (512, 256))  # ne: rows of 512


def text_pair(key: str, value: str) -> bytes:
    return B.pair(key, TEXT, B.text(value))


def write(path: Path, tensors: dict[str, tuple[tuple, int, int]], *pairs: bytes) -> str:
    """Write a file: name -> ne, ggml's number, bytes."""
    rows, data = [], b""
    for name, (ne, number, nbytes) in tensors.items():
        rows.append(B.tensor(name, ne, number, len(data)))
        data += bytes(nbytes + -nbytes % 32)
    return written(path, B.file(tuple(rows), pairs, data))


# Kinds


def test_an_importance_matrix_has_no_parameters(tmp_path: Path):
    path = write(
        tmp_path / "imatrix.gguf",
        {
            "blk.0.attn_q.weight.in_sum2": ((256, 1), 0, 1024),
            "blk.0.attn_q.weight.counts": ((1, 1), 0, 4),
        },
        text_pair("general.type", "imatrix"),
        B.pair("imatrix.chunk_count", WORD, B.pack("I", 10)),
    )
    inventory = ex.explore(path)
    assert inventory.num_parameters == 0
    assert inventory.source == "gguf v3 imatrix"
    assert inventory.remarks == (
        "the file is of type imatrix: statistics of activations, which guide quantisation: "
        "not parameters (10 chunks)",
    )


@pytest.mark.parametrize(
    ("pairs", "kind", "words"),
    [
        (
            (("general.architecture", "clip"), ("general.type", "mmproj")),
            "mmproj",
            "projector",
        ),
        ((("general.architecture", "clip"),), "mmproj", "without its language model"),
        (
            (("general.architecture", "llama"), ("general.type", "adapter")),
            "adapter",
            "adapter",
        ),
        ((("general.architecture", "controlvector"),), "control vector", "directions"),
        ((("general.type", "new\x1b[31m"),), "new\\x1b[31m", "not a model of its own"),
    ],
)
def test_what_a_file_is_said_to_be(tmp_path: Path, pairs: tuple, kind: str, words: str):
    said = [text_pair(*pair) for pair in pairs]
    inventory = ex.explore(write(tmp_path / "x.gguf", {"w.weight": ((4, 4), 0, 64)}, *said))
    assert inventory.source == f"gguf v3 {kind}"
    assert inventory.num_parameters == 16
    assert words in inventory.remarks[0]


def test_a_model_is_not_remarked_upon(tmp_path: Path):
    pairs = text_pair("general.architecture", "llama"), text_pair("general.type", "model")
    inventory = ex.explore(write(tmp_path / "x.gguf", {"w": ((4, 4), 0, 64)}, *pairs))
    assert (inventory.source, inventory.remarks) == ("gguf v3", ())


def test_a_vocabulary_alone(tmp_path: Path):
    inventory = ex.explore(write(tmp_path / "x.gguf", {}))
    assert inventory.num_tensors == 0
    assert inventory.remarks == (
        "the file holds no tensors, only metadata such as a vocabulary",
    )


# Types

SIZE = 512 * 256


@pytest.mark.parametrize(
    ("number", "name", "nbytes"),
    [
        # llama.cpp
        (42, "q2_0", SIZE // 64 * 18),
        (39, "mxfp4", SIZE // 32 * 17),
        (36, "iq4_nl_4_4", SIZE // 32 * 18),
        # bitnet.cpp's ggml_nbytes: a quarter of the elements and a scale in 32 bytes
        (36, "i2_s", SIZE // 4 + 32),
        (36, "i2_s", SIZE // 4),
        (37, "i8_s", SIZE),
        (38, "tl1", SIZE // 4 + 32),
        (
            39,
            "tl2",
            -(-(256 * 256 // 3 * 5 // 8 + 256 * 256 // 2 * 4 // 8) // 32) * 32 + 32,
        ),
        # ik_llama.cpp: whole blocks, and a scale for each of the 256 rows in some
        (139, "iq4_k", SIZE // 256 * 144),
        (144, "iq4_ks", SIZE // 256 * 136 + 256 * 4),
        (145, "iq2_ks", SIZE // 256 * 70 + 256 * 2),
        (151, "q8_kv", SIZE + 256 * 8),
        (135, "iq2_bn", SIZE // 64 * 16 + 256 * 4),
        (210, "q2_k_r4", SIZE // 256 * 84),
        # Prism's
        (142, "pq2_0", SIZE // 128 * 34),
        (143, "ptq1_0", SIZE // 128 * 28),
    ],
)
def test_a_type_is_known_by_its_bytes(tmp_path: Path, number: int, name: str, nbytes: int):
    tensors = {
        "token_embd.weight": ((256, 10), 1, 5120),
        ROWS[0]: (ROWS[1], number, nbytes),
        "output_norm.weight": ((256,), 0, 1024),
    }
    orders = (tensors, dict(sorted(tensors.items(), key=lambda item: item[0] == ROWS[0])))
    for order in orders:  # between others, and last in the file
        inventory = ex.explore(write(tmp_path / "x.gguf", order))
        tensor = inventory[ROWS[0]]
        assert (tensor.dtype, tensor.nbytes, tensor.shape) == (name, nbytes, (256, 512))
        assert inventory.num_parameters == 2560 + prod(ROWS[1]) + 256


def test_values_of_a_forks_type_are_refused(tmp_path: Path):
    for number, nbytes in ((36, SIZE // 4 + 32), (139, SIZE // 256 * 144)):
        path = write(tmp_path / "x.gguf", {ROWS[0]: (ROWS[1], number, nbytes)})
        with pytest.raises(FormatError, match="a format that the gguf package dequantises"):
            ex.load(path)


def test_a_type_whose_bytes_fit_no_layout(tmp_path: Path):
    path = write(tmp_path / "x.gguf", {ROWS[0]: (ROWS[1], 139, 1000), "b": ((4,), 0, 16)})
    with pytest.raises(FormatError, match="at byte 1,024 of the data overlaps another"):
        ex.explore(path)
