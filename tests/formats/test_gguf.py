"""GGUF: tensors, values and metadata equal those that the gguf package writes and reads."""

import subprocess
import sys
import warnings
from pathlib import Path

import gguf as reference
import numpy as np
import pytest

from explorer import dtypes
from explorer.errors import FormatError, MissingPackageError
from explorer.formats import gguf
from tests.formats.gguf_bytes import B, Bytes, save, written

TYPES = list(reference.GGMLQuantizationType)
PLAIN = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
}


def everything(key: object) -> bool:
    return True


@pytest.fixture(scope="module")
def every_type(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a tensor of every ggml type, its bytes at random."""
    path = tmp_path_factory.mktemp("gguf") / "every.gguf"
    writer = reference.GGUFWriter(path, "llama")
    rng = np.random.default_rng(0)
    for kind in TYPES:
        block, size = reference.GGML_QUANT_SIZES[kind]
        raw = rng.integers(0, 256, (3, 2, 2 * size * (256 // block)), dtype=np.uint8)
        writer.add_tensor(f"t.{kind.name}", raw, raw_dtype=kind)
    save(writer)
    return str(path)


def test_every_type_is_listed_as_the_reference_reader_lists_it(every_type):
    listing = gguf.read(every_type)
    tensors = reference.GGUFReader(every_type).tensors
    names = [t.tensor_type.name for t in tensors]
    assert listing.format == "gguf v3"
    assert listing.keys == [t.name for t in tensors]
    assert listing.shapes == [tuple(reversed(t.shape.tolist())) for t in tensors]
    assert listing.nbytes == [t.n_bytes for t in tensors]
    assert listing.dtypes == [PLAIN.get(name, name.lower()) for name in names]
    assert (listing.files, listing.file_bytes) == (1, Path(every_type).stat().st_size)
    assert all(type(n) is int for shape in listing.shapes for n in shape)


def dequantised(tensor: reference.ReaderTensor) -> np.ndarray | None:
    """Return the reference's values of a tensor, None where it has no rule."""
    try:
        return reference.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        return None


def test_values_equal_the_reference_dequantisation(every_type):
    refused = []
    for tensor in reference.GGUFReader(every_type).tensors:
        name = tensor.tensor_type.name
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # random scales overflow
            expected = tensor.data if name in PLAIN else dequantised(tensor)
            if expected is None:
                with pytest.raises(FormatError, match="dequantises"):
                    gguf.values(every_type, tensor.name.__eq__)
                refused.append(name)
                continue
            (array,) = gguf.values(every_type, tensor.name.__eq__).values()
        assert array.shape == (3, 2, 512)
        if name in PLAIN:
            assert array.dtype.name == PLAIN[name]
            assert isinstance(array, np.memmap)
            assert array.tobytes() == expected.tobytes()
        else:
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, expected)
    assert set(refused) <= {"Q8_1", "Q8_K", "Q1_0", "NVFP4"}


def test_block_sizes_are_those_of_the_reference():
    for kind, (block, size) in reference.GGML_QUANT_SIZES.items():
        dtype = dtypes.find_ggml(kind)
        assert dtype is not None
        assert (dtype.block, dtype.block_bytes) == (block, size), kind.name


def test_a_format_that_nothing_dequantises_is_named(tmp_path):
    content = B.file((B.tensor("w", (256,), 15),), data=bytes(292))
    path = written(tmp_path / "a.gguf", content)
    assert gguf.read(path).dtypes == ["q8_k"]
    with pytest.raises(FormatError) as error:
        gguf.values(path, everything)
    assert str(error.value) == (
        f"{path}: tensor 'w' is q8_k; expected a format that the gguf package "
        "dequantises; update gguf, or select other tensors"
    )


def test_only_quantised_values_need_the_gguf_package(every_type, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert list(gguf.values(every_type, "t.BF16".__eq__)) == ["t.BF16"]
    with pytest.raises(MissingPackageError) as error:
        gguf.values(every_type, "t.Q4_K".__eq__)
    assert str(error.value) == (
        f"{every_type}: tensor 't.Q4_K' is q4_k; expected the gguf package, which "
        "dequantises it; pip install -e '.[gguf]' in the repository"
    )


def test_reading_a_header_loads_neither_jax_nor_numpy(every_type):
    code = (
        "import sys; from explorer.formats import gguf; gguf.read(sys.argv[1]); "
        "print({'jax', 'numpy', 'gguf'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, every_type]
    assert subprocess.check_output(command, text=True) == "set()\n"


def test_arrays_are_the_readers_own_and_the_file_stays_as_it_was(every_type):
    before = Path(every_type).read_bytes()
    gguf.values(every_type, "t.F32".__eq__)["t.F32"][:] = 1
    assert Path(every_type).read_bytes() == before


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_and_byte_order(tmp_path, version, order):
    b = Bytes(version, order)
    pairs = (
        b.pair("general.architecture", 8, b.text("llama")),
        b.pair("words", 9, b.pack("IL", 8, 2) + b.text("a") + b.text("bcd")),
        b.pair("llama.block_count", 4, b.pack("I", 258)),
    )
    tensors = (
        b.tensor("a", (3, 2), 0, 0),
        b.tensor("scalar", (), 0, 32),
        b.tensor("half", (2,), 30, 64),
    )
    data = b.pack("6f", *range(6)).ljust(32, b"\0") + b.pack("f", 7).ljust(32, b"\0")
    data += b.pack("2H", 0x3F80, 0xC000)
    path = written(tmp_path / "a.gguf", b.file(tensors, pairs, data))
    listing = gguf.read(path)
    assert listing.format == f"gguf v{version}"
    assert listing.shapes == [(2, 3), (), (2,)]
    assert listing.metadata == {
        "general.architecture": "llama",
        "words": "array of 2 strings",
        "llama.block_count": "258",
    }
    arrays = gguf.values(path, everything)
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["scalar"] == 7
    assert arrays["half"].astype(float).tolist() == [1, -2]


def test_big_endian_files_of_the_reference_writer(tmp_path):
    path = str(tmp_path / "big.gguf")
    writer = reference.GGUFWriter(path, "llama", endianess=reference.GGUFEndian.BIG)
    arrays = {
        np.dtype(name).name: np.arange(-4, 4).reshape(2, 4).astype(name)
        for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8")
    }
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    kind = reference.GGMLQuantizationType.Q8_0
    writer.add_tensor("blocks", np.zeros((1, 34), np.uint8), raw_dtype=kind)
    save(writer)
    found = gguf.values(path, arrays.__contains__)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    with pytest.raises(FormatError) as error:
        gguf.values(path, everything)
    assert str(error.value) == (
        f"{path}: tensor 'blocks' is q8_0 in a big-endian file; expected a little-endian "
        "file, the only blocks that are dequantised; run gguf-convert-endian FILE little"
    )


def test_metadata_is_reported_as_text_and_arrays_by_their_length(tmp_path):
    values = {
        0: (B.pack("B", 255), "255"),
        1: (B.pack("b", -1), "-1"),
        2: (B.pack("H", 65535), "65535"),
        3: (B.pack("h", -2), "-2"),
        4: (B.pack("I", 7), "7"),
        5: (B.pack("i", -3), "-3"),
        6: (B.pack("f", 1e-6), "1e-06"),
        7: (b"\1", "true"),
        8: (B.text("naïve\n"), "naïve\n"),
        10: (B.pack("Q", 2**64 - 1), "18446744073709551615"),
        11: (B.pack("q", -(2**63)), "-9223372036854775808"),
        12: (B.pack("d", 0.5), "0.5"),
    }
    pairs = [B.pair(f"k{kind}", kind, raw) for kind, (raw, _) in values.items()]
    expected = {f"k{kind}": text for kind, (_, text) in values.items()}
    numbers = B.pack("IQ", 6, 1500) + bytes(6000)
    nested = B.pack("IQ", 9, 2) + B.pack("IQ3H", 2, 3, 1, 2, 3) + B.pack("IQ", 8, 0)
    pairs += [
        B.pair("numbers", 9, numbers),
        B.pair("nested", 9, nested),
        B.pair("empty", 9, B.pack("IQ", 8, 0)),
        B.pair("long", 8, B.text("x" * 70_000)),
        B.pair("off", 7, b"\0"),
    ]
    expected |= {
        "numbers": "array of 1,500 float32",
        "nested": "array of 2 arrays",
        "empty": "array of 0 strings",
        "long": "string of 70,000 bytes",
        "off": "false",
    }
    path = written(tmp_path / "a.gguf", B.file(pairs=tuple(pairs)))
    listing = gguf.read(path)
    assert listing.metadata == expected
    assert (listing.keys, listing.ties, listing.format) == ([], [], "gguf v3")


def test_a_large_vocabulary_is_stepped_over(tmp_path):
    path = str(tmp_path / "a.gguf")
    writer = reference.GGUFWriter(path, "llama")
    writer.add_array("words", [f"word {'x' * (i % 40)}" for i in range(30_000)])
    writer.add_string("after", "still in step")
    writer.add_tensor("w", np.ones((2, 8), np.float32))
    save(writer)
    listing = gguf.read(path)
    assert listing.metadata["words"] == "array of 30,000 strings"
    assert listing.metadata["after"] == "still in step"
    assert gguf.values(path, everything)["w"].sum() == 16


@pytest.mark.parametrize("alignment", [1, 8, 32, 4096])
def test_general_alignment_is_obeyed(tmp_path, alignment):
    pairs = (B.pair("general.alignment", 4, B.pack("I", alignment)),)
    step = -(-12 // alignment) * alignment
    tensors = (B.tensor("a", (3,)), B.tensor("b", (3,), 0, step))
    data = B.pack("3f", 1, 2, 3).ljust(step, b"\0") + B.pack("3f", 4, 5, 6)
    path = written(tmp_path / "a.gguf", B.file(tensors, pairs, data, alignment))
    arrays = gguf.values(path, everything)
    assert {key: a.tolist() for key, a in arrays.items()} == {
        "a": [1, 2, 3],
        "b": [4, 5, 6],
    }


def test_data_may_be_in_another_order_than_the_header_lists(tmp_path):
    tensors = (B.tensor("late", (1,), 0, 32), B.tensor("early", (1,), 0, 0))
    data = B.pack("f", 1).ljust(32, b"\0") + B.pack("f", 2)
    path = written(tmp_path / "a.gguf", B.file(tensors, data=data))
    assert gguf.values(path, everything) == {"late": [2], "early": [1]}


def test_a_file_of_any_size_is_read_from_its_header(tmp_path):
    path = tmp_path / "a.gguf"
    rows = 1 << 23
    head = B.file((B.tensor("token_embd.weight", (1 << 12, rows), 1),))
    size = len(head) + (rows << 13)  # 64 GiB, none of it on the disk
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    listing = gguf.read(str(path))
    assert (listing.shapes, listing.nbytes) == ([(rows, 1 << 12)], [rows << 13])
    assert listing.file_bytes == size
