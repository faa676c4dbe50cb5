"""GGUF: sets of files, and the output matrix that a file leaves out."""

from pathlib import Path

import gguf as reference
import numpy as np
import pytest

from explorer.errors import FormatError
from explorer.formats import gguf
from explorer.inventory.tensor import Tie
from tests.formats.gguf_bytes import B, save, written

TIED = Tie(
    ("token_embd.weight", "output.weight"),
    by="absence: llama.cpp reuses token_embd.weight where a file has no output.weight",
)


def small(path: Path, architecture: str, *names: str, pairs: tuple = ()) -> str:
    pairs = (B.pair("general.architecture", 8, B.text(architecture)), *pairs)
    tensors = tuple(B.tensor(n, (1,), 0, 32 * i) for i, n in enumerate(names))
    return written(path, B.file(tensors, pairs, bytes(32 * len(names))))


@pytest.mark.parametrize(
    ("architecture", "names", "ties"),
    [
        ("gemma3", ("token_embd.weight", "blk.0.attn_q.weight"), [TIED]),
        ("t5", ("token_embd.weight", "dec.blk.0.attn_q.weight"), [TIED]),
        ("llama", ("token_embd.weight", "blk.0.attn_q.weight", "output.weight"), []),
        ("llama", ("token_embd.weight", "output_norm.weight"), []),
        ("llama", ("blk.0.attn_q.weight",), []),
        ("bert", ("token_embd.weight", "blk.0.attn_q.weight"), []),
        ("nomic-bert", ("token_embd.weight", "blk.0.attn_q.weight"), []),
        ("t5encoder", ("token_embd.weight", "enc.blk.0.attn_q.weight"), []),
    ],
)
def test_a_causal_model_without_output_matrix_is_tied(tmp_path, architecture, names, ties):
    assert gguf.read(small(tmp_path / "a.gguf", architecture, *names)).ties == ties


def test_a_model_that_says_it_is_not_causal_is_not_tied(tmp_path):
    names = ("token_embd.weight", "blk.0.attn_q.weight")
    pairs = (B.pair("new.attention.causal", 7, b"\0"),)
    assert gguf.read(small(tmp_path / "a.gguf", "new", *names, pairs=pairs)).ties == []


def test_headless_architectures_are_those_of_the_reference():
    """Encoders of the gguf package's table; its others without an output are tied."""
    constants = reference.constants
    headless = {
        constants.MODEL_ARCH_NAMES[architecture]
        for architecture, tensors in constants.MODEL_TENSORS.items()
        if constants.MODEL_TENSOR.OUTPUT not in tensors
        and "bert" in constants.MODEL_ARCH_NAMES[architecture]
    }
    assert headless <= gguf._HEADLESS <= set(constants.MODEL_ARCH_NAMES.values())


@pytest.fixture
def split(tmp_path: Path) -> list[Path]:
    """Three parts of two tensors each, as the reference writes them."""
    writer = reference.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    writer.add_string("general.name", "three parts")
    for index in range(6):
        writer.add_tensor(f"t{index}", np.full((2, 3), index, np.float32))
    save(writer)
    return sorted(tmp_path.glob("m-*.gguf"))


def test_any_part_reads_the_whole_set(split):
    assert [part.name for part in split][::2] == [
        "m-00001-of-00003.gguf",
        "m-00003-of-00003.gguf",
    ]
    listings = [gguf.read(str(part)) for part in split]
    assert listings[0] == listings[1] == listings[2]
    assert listings[0].keys == [f"t{i}" for i in range(6)]
    assert listings[0].files == 3
    assert listings[0].file_bytes == sum(part.stat().st_size for part in split)
    assert listings[0].metadata["general.name"] == "three parts"
    arrays = gguf.values(str(split[1]), {"t1", "t4"}.__contains__)
    assert {key: a.mean() for key, a in arrays.items()} == {"t1": 1, "t4": 4}


def test_a_missing_part_is_named(split):
    split[1].unlink()
    with pytest.raises(FormatError) as error:
        gguf.read(str(split[2]))
    assert str(error.value) == (
        f"{split[1]}: is missing; expected all 3 parts in one folder; fetch it"
    )


def test_a_part_of_another_set_is_refused(split):
    split[1].write_bytes(split[2].read_bytes())
    with pytest.raises(FormatError) as error:
        gguf.read(str(split[0]))
    assert str(error.value) == (
        f"{split[1]}: split.no is 2; expected 1; fetch all parts again, from one place"
    )


def test_a_part_that_lost_its_name_is_refused(split, tmp_path):
    path = split[0].rename(tmp_path / "first.gguf")
    with pytest.raises(FormatError) as error:
        gguf.read(str(path))
    assert str(error.value) == (
        f"{path}: is one of 3 parts (split.count), and its name does not say which; expected "
        "a name that ends in -00001-of-0000N.gguf; give all parts their names back"
    )


def part(number: int, *names: str, count: int = 2, total: int = 2) -> bytes:
    pairs = (
        B.pair("split.no", 2, B.pack("H", number)),
        B.pair("split.count", 2, B.pack("H", count)),
        B.pair("split.tensors.count", 5, B.pack("i", total)),
    )
    tensors = tuple(B.tensor(n, (1,), 0, 32 * i) for i, n in enumerate(names))
    return B.file(tensors, pairs, bytes(32 * len(names)))


@pytest.mark.parametrize(
    ("parts", "place", "message"),
    [
        (
            (part(0, "a", total=3), part(1, "b", total=3)),
            0,
            "split.tensors.count is 3; expected 2",
        ),
        (
            (part(0, "a", count=3), part(1, "b")),
            0,
            "split.count is 3; expected 2",
        ),
        ((part(0, "a", total=1), B.file()), 1, "has no split.no; expected 1"),
        (
            (part(0, "a"), part(1, "a")),
            0,
            "tensor 'a' is in two parts; expected each name once",
        ),
    ],
)
def test_the_claims_of_a_set_are_verified(tmp_path, parts, place, message):
    paths = [
        written(tmp_path / f"m-0000{i}-of-00002.gguf", content)
        for i, content in enumerate(parts, 1)
    ]
    with pytest.raises(FormatError) as error:
        gguf.read(paths[1])
    cure = "fetch all parts again, from one place"
    assert str(error.value) == f"{paths[place]}: {message}; {cure}"


@pytest.mark.parametrize("name", ["m-00000-of-00002.gguf", "m-00003-of-00002.gguf"])
def test_a_part_number_outside_its_set_is_refused(tmp_path, name):
    path = written(tmp_path / name, part(0, "a"))
    with pytest.raises(FormatError) as error:
        gguf.read(path)
    assert str(error.value) == (
        f"{path}: is named as part {int(name[2:7])} of 2; expected a part from 1 to 2; "
        "give all parts their names back"
    )


@pytest.mark.parametrize("content", [part(0, "a", count=1, total=1), B.file()])
def test_a_set_of_one_needs_no_claims(tmp_path, content):
    assert gguf.read(written(tmp_path / "m-00001-of-00001.gguf", content)).files == 1


def test_a_merged_file_that_says_split_count_0_is_whole(tmp_path):
    assert gguf.read(written(tmp_path / "merged.gguf", part(0, "a", count=0))).files == 1
