"""Packed weights, decoded: what the libraries that packed them make of them again.

`tests/data/packed/make.py` wrote the files with those libraries. Layouts that no library at hand
reads without a GPU are read here once more, word by word with Python's integers.
"""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.formats.files import list_path, load_path
from explorer.identify.packing.companions import PackedLayer, packed_layers
from explorer.packed.coded import unpacked
from explorer.packed.decoding import (
    decodes,
    shape_of,
    shape_parts,
    values_of_layer,
)
from tests.cli.in_process import printed

DATA = Path(__file__).parents[1] / "data" / "packed"
EXPECTED = load_path(str(DATA / "expected.safetensors"), lambda key: True)
CONFIGS = {
    "bitnet": {"quant_method": "bitnet"},
    **{f"mlx_{bits}": {"bits": bits, "group_size": 64} for bits in (2, 3, 4, 6, 8)},
}
ONE_ULP = {"bitsandbytes_int8"}  # it multiplies by 1/127, rounded


def values(path: Path, config: Any = None):
    listing = list_path(str(path))
    arrays = load_path(str(path), lambda key: True)
    (layer,) = packed_layers(listing.keys, listing.shapes, listing.dtypes, config)
    assert decodes(layer)
    parts = {name: arrays[listing.keys[index]] for name, index in layer.parts.items()}
    shape = shape_of(layer, {name: parts[name] for name in shape_parts(layer)})
    return values_of_layer(layer, shape, parts, config)


@pytest.mark.parametrize("name", sorted(map(str, EXPECTED)))
def test_a_library_makes_the_same_of_its_layer(name: str):
    expected = EXPECTED[name]
    found = values(DATA / f"{name}.safetensors", CONFIGS.get(name))
    whole = found.pieces().whole()
    assert whole.dtype == np.float32
    assert whole.shape == expected.shape
    if name in ONE_ULP:
        np.testing.assert_allclose(whole, expected, rtol=2**-23)
    else:
        np.testing.assert_array_equal(whole, expected)
    for step in (1, 5, 7):  # in pieces
        rows = range(0, len(expected), step)
        parts = [found.rows(row, min(row + step, len(expected))) for row in rows]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", sorted(set(map(str, EXPECTED)) - CONFIGS.keys()))
def test_a_description_is_of_what_the_library_makes_of_it(name: str):
    expected = EXPECTED[name].astype(np.float64)
    found = ex.describe(str(DATA / f"{name}.safetensors"))
    (weight,) = [each for each in found.tensors if each.stored]
    assert weight.shape == expected.shape
    total = found.totals
    assert (total.count, total.zeros) == (expected.size, int((expected == 0).sum()))
    assert total.min == pytest.approx(expected.min(), rel=1e-6)
    assert total.l2 == pytest.approx(np.linalg.norm(expected), rel=1e-6)
    assert total.std == pytest.approx(expected.std(), rel=1e-6)
    (stored,) = load_path(
        str(DATA / f"{name}.safetensors"), [weight.key].__contains__
    ).values()
    assert weight.stored is not None
    assert weight.stored.dtype == stored.dtype.name
    assert weight.stored.shape == stored.shape
    wide = stored.astype(np.float64)
    assert weight.stored.statistics.mean == pytest.approx(wide.mean(), rel=1e-6)


def bits_of(words: np.ndarray, bits: int, count: int) -> list[int]:
    """The integers of a list of words as one long integer's digits."""
    size = 8 * words.dtype.itemsize
    whole = sum((int(word) % 2**size) << (size * at) for at, word in enumerate(words))
    return [(whole >> (bits * at)) % 2**bits for at in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(1, 8),
    kind=st.sampled_from(["uint8", "int8", "int16", "int32", "uint32", "int64"]),
    seed=st.integers(0, 9),
)
def test_integers_of_any_bits_in_words_of_any_size(bits: int, kind: str, seed: int):
    info = np.iinfo(kind)
    rng = np.random.default_rng(seed)
    words = rng.integers(info.min, info.max, (2, 24), kind, endpoint=True)
    count = 24 * info.bits // bits - seed
    found = unpacked(words, bits, count)
    assert found.tolist() == [bits_of(row, bits, count) for row in words]


def gptq_layer(bits: int, order: bool, seed: int = 0) -> tuple[dict[str, np.ndarray], int]:
    rng, out, width, group = np.random.default_rng(seed), 32, 64, 32
    words = lambda *shape: rng.integers(-(2**31), 2**31, shape, np.int32)  # noqa: E731
    index = np.arange(width, dtype=np.int32) // group
    parts = {
        "qweight": words(width * bits // 32, out),
        "qzeros": words(width // group, out * bits // 32),
        "scales": rng.standard_normal((width // group, out)).astype(np.float16),
        "g_idx": rng.permutation(index).astype(np.int32) if order else index,
    }
    return parts, width


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("version", ["gptq", "gptq_v2"])
def test_gptq_word_by_word(tmp_path: Path, bits: int, order: bool, version: str):
    parts, width = gptq_layer(bits, order)
    path = tmp_path / "model.safetensors"
    save_file({f"up.{name}": part for name, part in parts.items()}, path)
    config = {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": 32,
        "checkpoint_format": version,
    }
    found = values(path, config).pieces().whole()
    out = parts["scales"].shape[1]
    zeros = [bits_of(row, bits, out) for row in parts["qzeros"]]
    for column in range(out):
        codes = bits_of(parts["qweight"][:, column], bits, width)
        for row, code in enumerate(codes):
            group = parts["g_idx"][row]
            zero = zeros[group][column] + (version == "gptq")
            scale = float(parts["scales"][group, column])
            assert found[column, row] == np.float32((code - zero) * np.float32(scale))


def test_awq_for_vectors_word_by_word(tmp_path: Path):
    rng, out, width, group, padded = np.random.default_rng(0), 16, 256, 64, 2
    words = lambda *shape: rng.integers(-(2**31), 2**31, shape, np.int32)  # noqa: E731
    parts = {
        "up.qweight": words(out, width // 8),
        "up.qzeros": words(out, padded),
        "up.scales": rng.standard_normal((out, 8 * padded)).astype(np.float16),
    }
    path = tmp_path / "model.safetensors"
    save_file(parts, path)
    found = values(path).pieces().whole()
    for row in range(out):
        codes = np.array(bits_of(parts["up.qweight"][row], 4, width))
        zeros = np.array(bits_of(parts["up.qzeros"][row], 4, width // group))
        scales = parts["up.scales"][row, : width // group].astype(np.float32)
        expected = (codes - zeros.repeat(group)) * scales.repeat(group)
        np.testing.assert_array_equal(found[row], expected.astype(np.float32))


@pytest.mark.parametrize("scale", [(1,), (), (6,), (6, 1), (1, 8), (3, 4), (2, 2)], ids=str)
def test_scales_of_any_spread(tmp_path: Path, scale: tuple[int, ...]):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 8)).astype(ml_dtypes.float8_e4m3fn)
    scales = rng.standard_normal(scale).astype(np.float32)
    layer = PackedLayer(
        0, "scaled", (6, 8), "float8_e4m3fn", {}, ("weight", "weight_scale")
    )
    parts = {"weight": weight, "weight_scale": scales}
    found = values_of_layer(layer, (6, 8), parts).pieces().whole()
    grid = scales.reshape(scale if len(scale) == 2 else (-1, 1))
    for row, column in np.ndindex(6, 8):
        at = row * grid.shape[0] // 6, column * grid.shape[1] // 8
        assert found[row, column] == np.float32(weight[row, column]) * grid[at]


def test_experts_have_scales_of_their_own():
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 256, (3, 4, 16), np.uint8)
    scale = rng.uniform(1, 400, (3, 4, 2)).astype(ml_dtypes.float8_e4m3fn)
    whole = np.array([1, 2, 4], np.float32)
    layer = PackedLayer(
        0, "microscaled", (3, 4, 32), "float4_e2m1fn", {}, ("weight", "weight_scale")
    )
    parts = {"weight": weight, "weight_scale": scale, "weight_scale_2": whole}
    found = values_of_layer(layer, (3, 4, 32), parts).pieces().whole()
    table = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    for e, row, column in np.ndindex(3, 4, 32):
        code = (int(weight[e, row, column // 2]) >> (4 * (column % 2))) & 15
        sign = -1 if code & 8 else 1
        factor = float(scale[e, row, column // 16]) * whole[e]
        assert found[e, row, column] == sign * table[code & 7] * factor


def test_experts_packed_along_their_inputs():
    """[experts, in/2, out] with a scale for 32 inputs of each output."""
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 256, (2, 32, 6), np.uint8)
    scale = rng.integers(120, 130, (2, 2, 6), np.uint8)
    layer = PackedLayer(0, "microscaled", (2, 64, 6), "float4_e2m1fn", {}, ("", "scale"))
    found = values_of_layer(layer, (2, 64, 6), {"": weight, "scale": scale})
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    whole = found.pieces().whole()
    for e, row, column in np.ndindex(2, 64, 6):
        code = (int(weight[e, row // 2, column]) >> (4 * (row % 2))) & 15
        sign = -1 if code & 8 else 1
        factor = 2.0 ** (int(scale[e, row // 32, column]) - 127)
        assert whole[e, row, column] == sign * table[code & 7] * factor
    np.testing.assert_array_equal(found.rows(1, 2)[0], whole[1])


def test_what_is_not_decoded_is_described_as_stored_and_said(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    codes = np.arange(16 * 64, dtype=np.int16).reshape(4, 4, 64)
    signs = np.ones(64, np.float16)
    save_file({"up.trellis": codes, "up.suh": signs, "up.svh": signs}, path)
    found = ex.describe(str(path))
    (weight,) = [each for each in found.tensors if each.is_parameter]
    assert weight.statistics.max == codes.max()
    assert weight.dtype == "int16"
    assert found.totals.count == 0
    assert any(
        "1 quantised tensor of a layout that is not decoded" in note for note in found.notes
    )


def test_parts_that_do_not_fit_are_said(tmp_path: Path):
    name = "bitsandbytes_nf4"
    arrays = load_path(str(DATA / f"{name}.safetensors"), lambda key: True)
    parts = {str(key): np.array(array) for key, array in arrays.items()}
    state = "up.weight.quant_state.bitsandbytes__nf4"
    broken = bytes(parts[state]).replace(b'"blocksize": 64', b'"blocksize": 32')
    parts[state] = np.frombuffer(broken, np.uint8)
    path = tmp_path / "model.safetensors"
    save_file(parts, path)
    found = ex.describe(str(path))
    assert found.totals.count == 0
    (note,) = [note for note in found.notes if "not dequantised" in note]
    assert note.startswith("up/weight: not dequantised, its tensors do not fit together")
    wrong = bytes(parts[state]).replace(b"[20, 128]", b"[20, 999]")
    parts[state] = np.frombuffer(wrong, np.uint8)
    save_file(parts, path)
    assert ex.describe(str(path)).totals.count == 0


def test_a_dead_row_of_a_packed_weight_is_found(tmp_path: Path):
    arrays = load_path(str(DATA / "compressed_int4.safetensors"), lambda key: True)
    parts = {str(key): np.array(array) for key, array in arrays.items()}
    parts["up.weight_scale"][5] = 0
    path = tmp_path / "model.safetensors"
    save_file(parts, path)
    kinds = {(each.kind, each.index) for each in ex.check_values(str(path)).findings}
    assert ("zero_rows", (5,)) in kinds
    parts["up.weight_scale"][7, 1] = np.nan
    save_file(parts, path)
    found = ex.check_values(str(path))
    assert not found.is_sound
    nans = {each.tensor: each.index for each in found.findings if each.kind == "nan"}
    assert nans == {"up/weight_scale": (7, 1), "up/weight_packed": (7, 32)}


@pytest.mark.parametrize("form", ["csv", "md", "json"])
def test_a_packed_model_in_every_form(form: str):
    text = printed("stats", DATA / "compressed_int4.safetensors", "--format", form)
    text = text.replace("\\", "")  # Markdown escapes underscores
    assert "weight_packed" in text
    assert ("int32" in text) == (form != "md")  # how it is stored: of the records alone


def test_arrays_of_qwix(tmp_path: Path):
    """A QArray: (qvalue - zero_point) * scale, a scale for each tile of 4 by 1."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (8, 6), np.int8)
    scale = rng.standard_normal((2, 6)).astype(np.float32)
    zero = rng.integers(-9, 9, (2, 6)).astype(np.int8)
    names = {"qvalue": codes, "scale": scale, "zero_point": zero}
    path = tmp_path / "model.safetensors"
    save_file({f"up.kernel.array.{name}": part for name, part in names.items()}, path)
    found = values(path).pieces().whole()
    for row, column in np.ndindex(8, 6):
        tile = row // 4, column
        expected = np.float32(int(codes[row, column]) - int(zero[tile])) * scale[tile]
        assert found[row, column] == expected


@pytest.mark.parametrize(
    "wrong",
    [
        b'"blocksize": 0',
        b'"blocksize": null',
        b'"blocksize": "x"',
        b'"blocksize": 1e99',
        b'"other": 64',
    ],
)
def test_a_state_of_nonsense_leaves_the_weight_as_it_is_stored(
    tmp_path: Path, wrong: bytes
):
    arrays = load_path(str(DATA / "bitsandbytes_nf4_nested.safetensors"), lambda key: True)
    parts = {str(key): np.array(array) for key, array in arrays.items()}
    state = "up.weight.quant_state.bitsandbytes__nf4"
    text = bytes(parts[state]).replace(b'"blocksize": 64', wrong)
    parts[state] = np.frombuffer(text, np.uint8)
    path = tmp_path / "model.safetensors"
    save_file(parts, path)
    found = ex.describe(str(path))
    assert found.totals.count == 0
    assert any(note.startswith("up/weight: not dequantised") for note in found.notes)
    other = tmp_path / "plain.safetensors"
    save_file({"up.weight": np.zeros((20, 128), np.float32)}, other)
    with pytest.raises(
        InputError, match=r"weight cannot be dequantised: its tensors do not fit"
    ):
        ex.diff(str(path), str(other))


def test_groups_that_are_not_there(tmp_path: Path):
    for wrong in (-1, 2):
        parts, _ = gptq_layer(4, order=False)
        parts["g_idx"][7] = wrong
        path = tmp_path / "model.safetensors"
        save_file({f"up.{name}": part for name, part in parts.items()}, path)
        (note,) = [n for n in ex.describe(str(path)).notes if "not dequantised" in n]
        assert note.startswith(
            "up/qweight: not dequantised, its tensors do not fit together"
        )
