"""Packed weights compared: with what they were packed from, and with one another."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import explorer as ex
from explorer.formats.gguf import StoredBlocks
from explorer.values.bounds import is_inside
from explorer.values.gguf_levels import levels_of_blocks
from explorer.values.gguf_tables import bounds_of_blocks, coded_of_blocks
from tests.pretrained.gguf_files import write as write_gguf
from tests.pretrained.test_gguf import MADE
from tests.pretrained.tiny import checkpoint
from tests.targets.test_comparing import folder_of

DATA = Path(__file__).parents[1] / "data" / "packed"
ORIGINALS = load_file(DATA / "originals.safetensors")
EXPECTED = load_file(DATA / "expected.safetensors")
ASSUMED = {
    "bitnet",
    "mlx_2",
    "mlx_3",
    "mlx_4",
    "mlx_6",
    "mlx_8",
}  # bits that config.json says


def packed(tmp_path: Path, name: str) -> dict[str, np.ndarray]:
    from explorer.formats.files import load_path

    found = load_path(str(DATA / f"{name}.safetensors"), lambda key: True)
    return {str(key): np.array(array) for key, array in found.items()}


@pytest.mark.parametrize("name", sorted(ORIGINALS.keys() - ASSUMED))
def test_a_weight_and_what_it_was_packed_from(tmp_path: Path, name: str):
    """The verdict is of the quantiser's half step; the figures are of the library's own decoding."""
    original = tmp_path / "a.safetensors"
    save_file({"up.weight": ORIGINALS[name]}, original)
    (found,) = ex.diff(str(original), str(DATA / f"{name}.safetensors")).tensors
    change = EXPECTED[name].astype(np.float64) - ORIGINALS[name]
    assert found.verdict == "quantized", found
    assert found.max_abs == pytest.approx(np.abs(change).max(), rel=1e-5)
    whole = np.linalg.norm(ORIGINALS[name].astype(np.float64))
    assert found.relative_l2 == pytest.approx(np.linalg.norm(change) / whole, rel=1e-5)
    # one number two steps away from its level
    row, column = 3, int(np.abs(EXPECTED[name][3]).argmax())
    steps = np.unique(np.abs(np.diff(np.sort(EXPECTED[name][row]))))
    moved = ORIGINALS[name].copy()
    moved[row, column] -= np.sign(EXPECTED[name][row, column]) * 3 * steps.max()
    save_file({"up.weight": moved}, original)
    (found,) = ex.diff(str(original), str(DATA / f"{name}.safetensors")).tensors
    assert found.verdict == "different", found


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - ASSUMED - {"gpt_oss"}))
def test_a_weight_and_its_decoding(tmp_path: Path, name: str):
    path = tmp_path / "b.safetensors"
    save_file({"up.weight": EXPECTED[name]}, path)
    found = ex.diff(str(DATA / f"{name}.safetensors"), str(path), rtol=1e-6)
    (tensor,) = found.tensors
    assert found.within_tolerance
    assert tensor.verdict in ("quantized", "rounding")
    assert any("1 packed weight is compared dequantised" in note for note in found.notes)


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - ASSUMED))
def test_one_bit_of_any_part_is_found(tmp_path: Path, name: str):
    arrays = packed(tmp_path, name)
    same = ex.diff(str(DATA / f"{name}.safetensors"), str(DATA / f"{name}.safetensors"))
    assert same.identical
    rng = np.random.default_rng(0)
    for key, array in arrays.items():
        if "quant_state" in key or key.endswith((".shape", ".weight_shape", ".nbits")):
            continue
        changed = array.copy()
        raw = changed.reshape(-1).view(np.uint8)
        raw[rng.integers(raw.size)] ^= 1
        path = tmp_path / "b.safetensors"
        save_file({**arrays, key: changed}, path)
        found = ex.diff(str(DATA / f"{name}.safetensors"), str(path))
        assert not found.identical, key


def test_words_of_other_codes_and_the_same_numbers(tmp_path: Path):
    arrays = packed(tmp_path, "compressed_int4")
    arrays["up.weight_scale"][2] = 0
    other = {key: array.copy() for key, array in arrays.items()}
    other["up.weight_packed"][2, 0] ^= 1
    for name, tensors in (("a", arrays), ("b", other)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    found = ex.diff(str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"))
    (changed,) = [each for each in found.tensors if each.verdict != "identical"]
    assert (changed.verdict, changed.detail) == ("different", "other codes, same numbers")
    assert changed.changed == 0


def test_two_quantisations_of_one_weight(tmp_path: Path):
    """Half steps of both overlap, for they are of one weight; the scales are of one side each."""
    w = ORIGINALS["compressed_fp8"]
    scale = np.abs(w).max(1, keepdims=True) / 127
    other = {"up.weight": np.round(w / scale).astype(np.int8), "up.weight_scale": scale}
    save_file(other, tmp_path / "b.safetensors")
    found = ex.diff(
        str(DATA / "compressed_fp8.safetensors"), str(tmp_path / "b.safetensors")
    )
    assert {each.verdict for each in found.tensors} == {"quantized"}


def blocks_of(kind: str, numbers: np.ndarray) -> StoredBlocks:
    number = gguf.GGMLQuantizationType[kind.upper()]
    raw = (
        quantised(kind, numbers)
        if kind.startswith(("iq4", "nvfp4"))
        else gguf.quantize(numbers, number)
    )
    return StoredBlocks(kind, int(number), numbers.shape, raw)


def quantised(kind: str, numbers: np.ndarray) -> np.ndarray:
    """Blocks of nearest levels, as ggml-quants.c lays them out."""
    table = np.array(
        gguf.quants.IQ4_NL.kvalues if kind.startswith("iq4") else gguf.quants.NVFP4.kvalues
    )
    rows = numbers.reshape(-1, {"iq4_nl": 32, "iq4_xs": 256, "nvfp4": 64}[kind])
    found = []
    for row in rows:
        group = 16 if kind == "nvfp4" else 32
        parts = row.reshape(-1, group)
        largest = np.abs(parts).max(1)
        if kind == "nvfp4":
            head = gguf.quants.NVFP4.fp32_to_ue4m3(largest / 6)
            scales = gguf.quants.NVFP4.ue4m3_to_fp32(head)
        elif kind == "iq4_nl":
            scales = (largest / 113).astype(np.float16)
            head = scales.view(np.uint8)
            scales = scales.astype(np.float32)
        else:
            d = np.float16(largest.max() / 113 / 31)
            six = np.clip(np.round(largest / 113 / np.float32(d)), 1, 31).astype(int) + 32
            high = sum((int(s) >> 4) << (2 * i) for i, s in enumerate(six))
            low = [
                (int(six[2 * i]) & 15) | ((int(six[2 * i + 1]) & 15) << 4) for i in range(4)
            ]
            head = np.concatenate(
                (
                    np.array([d]).view(np.uint8),
                    np.array([high], "<u2").view(np.uint8),
                    np.array(low, np.uint8),
                )
            )
            scales = np.float32(d) * (six - 32)
        error = np.abs(parts[:, :, None] - scales[:, None, None] * table)
        codes = error.argmin(-1).astype(np.uint8)
        half = group // 2
        found.append(
            np.concatenate((head, (codes[:, :half] | (codes[:, half:] << 4)).reshape(-1)))
        )
    return np.array(found).reshape(*numbers.shape[:-1], -1)


@pytest.mark.parametrize("kind", ["iq4_nl", "iq4_xs", "mxfp4", "nvfp4", "tq1_0", "tq2_0"])
def test_blocks_of_tables(kind: str):
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((4, 512)).astype(np.float32)
    blocks = blocks_of(kind, numbers)
    decoded = gguf.dequantize(blocks.raw, gguf.GGMLQuantizationType(blocks.number))
    coded = coded_of_blocks(blocks)
    assert coded is not None
    again = np.concatenate([each.decoded().reshape(-1) for each in coded]).reshape(4, 512)
    np.testing.assert_allclose(again, decoded, rtol=1e-6)
    bounds = bounds_of_blocks(blocks)
    assert bounds is not None
    assert is_inside(numbers, bounds)
    assert levels_of_blocks(blocks) is not None
    # a number that should have had the next level is outside
    levels = np.unique(decoded[0, :32])
    at = int(np.abs(decoded[0, :32]).argmax())
    numbers[0, at] = decoded[0, at] - np.sign(decoded[0, at]) * 2 * np.diff(levels).max()
    assert not is_inside(numbers, bounds)


@pytest.mark.parametrize("kind", ["Q8_0", "MXFP4"])
def test_halves_of_a_quantised_latent_attention(tmp_path: Path, kind: str):
    model = next(name for name in MADE if "DeepSeek-V2-Lite" in name)
    config = MADE[model] | {
        "kv_lora_rank": 32,
        "qk_nope_head_dim": 32,
        "v_head_dim": 32,
        "intermediate_size": 64,
        "moe_intermediate_size": 64,
    }
    tensors = checkpoint(config)
    folder = folder_of(tmp_path / "hf", config, tensors)
    path = write_gguf(
        tmp_path / "m.gguf", config, tensors, kind=gguf.GGMLQuantizationType[kind]
    )
    found = ex.diff(folder, path)
    joined = [each for each in found.tensors if each.name.endswith("kv_b_proj/weight")]
    assert joined
    assert {each.verdict for each in joined} == {"quantized"}
    assert not [
        each for each in found.tensors if each.verdict in ("missing", "added", "different")
    ]


def test_what_is_not_decoded_is_compared_as_stored_and_said(tmp_path: Path):
    parts = {
        "up.trellis": np.arange(16 * 64, dtype=np.int16).reshape(4, 4, 64),
        "up.suh": np.ones(64, np.float16),
        "up.svh": np.ones(64, np.float16),
    }
    save_file(parts, tmp_path / "a.safetensors")
    parts["up.trellis"][1, 2, 3] ^= 1
    save_file(parts, tmp_path / "b.safetensors")
    found = ex.diff(str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"))
    (changed,) = [each for each in found.tensors if each.verdict != "identical"]
    assert (changed.name, changed.first_index) == ("up/trellis", (1, 2, 3))
    left = "1 packed weight is of a layout that is not decoded, and compared as stored"
    assert sum(note.endswith(left) for note in found.notes) == 2
