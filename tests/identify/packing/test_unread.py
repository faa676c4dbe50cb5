"""Quantization that is announced and not understood: said, and never counted silently."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import explorer as ex
from explorer.dtypes import find
from explorer.identify.packing.schemes import SCHEMES
from explorer.identify.packing.unread import is_odd
from explorer.paths import template_of
from tests.identify.packing.layouts import Layout, counted, find_in, gptq

SAID = "packed in an unknown way and not counted"


@pytest.mark.parametrize(
    "layer",
    [
        {"trellis": ((8, 16, 65), "int32"), "suh": ((128,), "float16")},
        {"qweight": ((64, 99), "int32"), "scales": ((7, 13), "float16")},
        {"codes": ((32, 8, 2), "int16"), "codebooks": ((3, 256, 8), "float16")},
        {"W_q": ((99, 64), "uint8"), "scale": ((77, 1), "float16")},
        {"weight": ((64, 64), "uint8"), "weight_scale": ((5, 5), "float16")},
        {"weight": ((64, 64), "int8")},
        {"packed_weight": ((64, 64), "int32")},
        {"weight_int4": ((64, 64), "uint8")},
        {"words": ((64, 64), "int32"), "my_scales": ((3, 5), "float16")},
        {"weight_packed": ((64, 64), "int32"), "weight_global": ((), "float32")},
        {"kernel_q": ((64, 64), "int8"), "kernel_codebook": ((16,), "float32")},
        {"up_blocks": ((64, 4, 16), "uint8"), "up_lut": ((16,), "float16")},
        {"qdata": ((64, 64), "uint8"), "scale_and_zero": ((2, 64, 2), "bfloat16")},
    ],
)
def test_packed_integers_of_an_unknown_layout_are_said(layer: Layout):
    model: Layout = {"embed.weight": ((100, 64), "float16")}
    model |= {f"up.{name}": column for name, column in layer.items()}
    total, unread = counted(model)
    floats = model.get("up.weight_global")
    assert total == 6_400 + (1 if floats else 0)
    assert len(unread) == 1
    assert unread[0].startswith("up/")
    assert SAID in unread[0]


@pytest.mark.parametrize(
    "layer",
    [
        {"attn.bias": ((1, 1, 64, 64), "uint8"), "attn.scale": ((), "float32")},
        {"position_ids": ((1, 77), "int32"), "scale": ((64,), "float32")},
        {"relative_position_index": ((64, 64), "int32"), "logit_scale": ((3,), "float32")},
        {"token_ids": ((100, 64), "int32")},
        {"step": ((), "int32"), "count": ((), "int32")},
        {"w": ((4, 3), "int8")},
        {
            "opt_state/0/state1": ((64, 64), "uint8"),
            "opt_state/0/absmax1": ((9,), "float32"),
        },
        {"mask": ((64, 64), "uint8"), "gate_scale": ((64,), "float32")},
        {"data": ((100, 64), "float8_e4m3fn")},
        {"data": ((100, 64), "uint8"), "labels": ((100,), "uint8")},
        {"spiece_model": ((791_656,), "uint8"), "scale": ((4,), "float32")},
        {"state/0/state1": ((64, 64), "uint8"), "state/0/absmax1": ((9,), "float32")},
        {
            "state/0/exp_avg/codes": ((64,), "uint8"),
            "state/0/exp_avg/scale": ((1,), "float32"),
        },
    ],
)
def test_other_integers_are_not_weights(layer: Layout):
    assert counted(layer)[1] == ()


def test_several_are_said_in_one_sentence():
    model: Layout = {f"h.{i}.trellis": ((8, 16, 65), "int16") for i in range(3)}
    config = {"quant_method": "exl3", "bits": 4.0}
    assert counted(model, config)[1] == (
        f"config.json announces exl3: h/0/trellis and 2 more are {SAID}",
    )


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quant_method": "VPTQ"}, "vptq"),
        ({"quant_algo": "W4A16_AWQ"}, "w4a16_awq"),
        ({"load_in_4bit": True}, "bitsandbytes"),
        ({"group_size": 64, "bits": 4}, "quantization"),
    ],
)
def test_a_scheme_that_no_tensor_bears_out_is_said(config: dict, method: str):
    plain: Layout = {"up.weight": ((64, 64), "bfloat16")}
    said = (f"config.json announces {method}, and no tensor is stored so",)
    assert counted(plain, config) == (64 * 64, said)
    assert counted({"up.weight": ((64, 64), "float8_e4m3fn")}, config)[1] == ()
    assert counted(gptq(512, 512, 4, 128), config)[1] == ()


def test_a_cache_may_be_all_that_is_quantized():
    model: Layout = {
        "attn.q_proj.weight": ((64, 64), "bfloat16"),
        "attn.k_scale": ((1,), "float32"),
    }
    assert counted(model, {"quant_method": "compressed-tensors"})[1] == ()


@pytest.mark.parametrize("config", [{}, {"quant_method": None}, {"quant_method": "none"}])
def test_no_scheme_is_announced(config: dict):
    assert counted({"up.weight": ((64, 64), "bfloat16")}, config)[1] == ()


def _safetensors(path: Path, header: dict) -> None:
    raw = json.dumps(header).encode()
    size = max(x["data_offsets"][1] for n, x in header.items() if n != "__metadata__")
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(size))


def test_the_figure_of_such_a_folder_is_marked(tmp_path: Path):
    header = {
        "up.weight": {"dtype": "BF16", "shape": [8, 8], "data_offsets": [0, 128]},
        "up.trellis": {"dtype": "I16", "shape": [64, 64], "data_offsets": [128, 8320]},
    }
    _safetensors(tmp_path / "model.safetensors", header)
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "x9"}}')
    found = ex.ledger(str(tmp_path))
    said = f"config.json announces x9: up/trellis is {SAID}"
    assert found.parameters == 64
    assert found.provenance["parameters"] == f"assumed ({said})"
    assert said in found.notes
    assert found.collections["quantization"] == 64 * 64


def test_a_file_may_announce_its_scheme_itself(tmp_path: Path):
    header = {
        "__metadata__": {"quantization_config": '{"method": "svdquant"}'},
        "up.weight": {"dtype": "BF16", "shape": [8, 8], "data_offsets": [0, 128]},
    }
    _safetensors(tmp_path / "model.safetensors", header)
    assert "announces svdquant" in ex.ledger(str(tmp_path)).provenance["parameters"]


def test_a_file_of_floats_is_passed_over():
    names = [template_of(f"h.{i}.up.weight") for i in range(3)]
    assert not is_odd(names, ["bfloat16"] * 3)
    assert not is_odd([*names, b"bn.num_batches_tracked"], [*["bfloat16"] * 3, "int64"])
    assert is_odd(names, ["bfloat16", "uint8", "bfloat16"])


NAMES = sorted(
    {e.lstrip("/") for s in SCHEMES for e in (s.scale, s.weight, *s.state, *s.tables)}
    | {
        "kernel",
        "bias",
        "wscale",
        "scale_weight",
        "lut",
        "packed_w",
        "indices",
        "zero_point",
    }
)
SIZES = st.lists(st.sampled_from([0, 1, 2, 16, 64, 1024, 2**62]), max_size=4).map(tuple)
DTYPES = [
    "int32",
    "uint8",
    "int8",
    "int16",
    "int64",
    "float8_e4m3fn",
    "float16",
    "qint8",
    "x",
]


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(["", "a.", "a.b.", "params/aqt/"]), st.sampled_from(NAMES)
        ),
        st.tuples(SIZES, st.sampled_from(DTYPES)),
    ),
    st.dictionaries(
        st.sampled_from(["quant_method", "bits", "group_size", "config_for_layers"]),
        st.sampled_from(["gptq", "bitnet", 4, None, {"a": {"in_features": 64}}]),
    ),
)
def test_whatever_a_header_says_is_read_said_or_left_alone(header: dict, config: dict):
    layout = {"".join(names): column for names, column in header.items()}
    packed, unread = find_in(layout, config)
    assert all(isinstance(sentence, str) for sentence in unread)
    for index, (shape, _) in enumerate(layout.values()):
        if index in packed and packed[index].collection == "quantization":
            assert packed[index].shape == shape
        elif index in packed:
            assert find(packed[index].dtype).kind != "text"
            assert all(size >= 0 for size in packed[index].shape)
