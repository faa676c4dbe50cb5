"""Field cases of quantized files: written as people have them, with their right counts."""

import os
from pathlib import Path

import pytest

import explorer as ex
from explorer.analyses.ledger import Ledger
from tests.checkpoints import Layout, write_folder
from tests.formats.gguf_bytes import B

IN, OUT = 128, 256
Q = "model.layers.0.self_attn.q_proj"


def ledger_of(folder: Path, layout: Layout, config: dict | None = None) -> Ledger:
    return ex.ledger(str(write_folder(folder, layout, config)))


def test_scaled_fp8_with_its_scales_turned_round(tmp_path: Path):
    layout: Layout = {"model.diffusion_model.scaled_fp8": ((2,), "F8_E4M3")}
    for i in range(2):
        q = f"model.diffusion_model.blocks.{i}.self_attn.q"
        layout |= {
            f"{q}.weight": ((64, 64), "F8_E4M3"),
            f"{q}.bias": ((64,), "F32"),
            f"{q}.scale_weight": ((), "F32"),
            f"{q}.scale_input": ((), "F32"),
        }
    found = ledger_of(tmp_path, layout)
    assert (found.parameters, found.biases) == (8_320, 128)
    assert found.collections["quantization"] == 2 + 4


QUANTO4 = {
    f"{Q}.weight._data._data": ((IN * OUT // 128 // 2, 128), "U8"),
    f"{Q}.weight._scale": ((IN * OUT // 128, 1), "F16"),
    f"{Q}.weight._shift": ((IN * OUT // 128, 1), "U8"),
}
CASES: dict[str, tuple[Layout, dict]] = {
    "exl3": (
        {
            f"{Q}.trellis": ((IN // 16, OUT // 16, 64), "I16"),
            f"{Q}.suh": ((IN,), "F16"),
            f"{Q}.svh": ((OUT,), "F16"),
            f"{Q}.mcg": ((), "I32"),
        },
        {"bits": 4.0},
    ),
    "aqlm": (
        {
            f"{Q}.codes": ((OUT, IN // 8, 1), "I16"),
            f"{Q}.codebooks": ((1, 65536, 1, 8), "F16"),
            f"{Q}.scales": ((OUT, 1, 1, 1), "F16"),
        },
        {"in_group_size": 8, "num_codebooks": 1, "nbits_per_codebook": 16},
    ),
    "quip": (
        {
            f"{Q}.Qidxs": ((OUT, IN // 8), "I16"),
            f"{Q}.SU": ((IN,), "F16"),
            f"{Q}.SV": ((OUT,), "F16"),
            f"{Q}.Wscale": ((), "F32"),
        },
        {},
    ),
    "quanto": (
        {
            f"{Q}.weight._data": ((OUT, IN), "I8"),
            f"{Q}.weight._scale": ((OUT, 1), "F16"),
            f"{Q}.input_scale": ((), "F16"),
            f"{Q}.output_scale": ((), "F16"),
        },
        {},
    ),
    "quanto of 4 bits": (QUANTO4, {}),
    "bitnet": (
        {f"{Q}.weight": ((OUT // 4, IN), "U8"), f"{Q}.weight_scale": ((1,), "BF16")},
        {"quantization_mode": "offline"},
    ),
    "eetq": (
        {f"{Q}.weight": ((IN, OUT), "I8"), f"{Q}.weight_scales": ((OUT,), "F16")},
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("announced", [True, False])
def test_a_packed_projection_has_32768_weights(tmp_path: Path, case: str, announced: bool):
    layout, settings = CASES[case]
    method = {"quant_method": case.split()[0], **settings}
    config = {"model_type": "x", "quantization_config": method} if announced else None
    found = ledger_of(tmp_path, layout, config)
    assert found.parameters == found.weights == IN * OUT == 32_768
    assert found.roles == {"kernel": 32_768}
    assert found.components == {"attention": 32_768}
    assert not found.provenance["parameters"].startswith("exact")


LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "tie_word_embeddings": True,
}
PROJECTIONS = {
    **{f"self_attn.{name}_proj": (128, 128) for name in "qkvo"},
    **{f"mlp.{name}_proj": (256, 128) for name in ("gate", "up")},
    "mlp.down_proj": (128, 256),
}


@pytest.mark.parametrize("method", ["bitnet", "exl3", "quanto", "eetq"])
def test_a_packed_model_agrees_with_its_config(tmp_path: Path, method: str):
    layout: Layout = {
        "model.embed_tokens.weight": ((100, 128), "BF16"),
        "model.norm.weight": ((128,), "BF16"),
        "model.layers.0.input_layernorm.weight": ((128,), "BF16"),
        "model.layers.0.post_attention_layernorm.weight": ((128,), "BF16"),
    }
    for name, (out, width) in PROJECTIONS.items():
        key, groups = f"model.layers.0.{name}", out * width // 128
        packed: dict[str, Layout] = {
            "bitnet": {
                ".weight": ((out // 4, width), "U8"),
                ".weight_scale": ((1,), "BF16"),
            },
            "exl3": {
                ".trellis": ((width // 16, out // 16, 48), "I16"),
                ".suh": ((width,), "F16"),
                ".svh": ((out,), "F16"),
            },
            "quanto": {
                ".weight._data._data": ((groups // 2, 128), "U8"),
                ".weight._scale": ((groups, 1), "BF16"),
                ".weight._shift": ((groups, 1), "BF16"),
            },
            "eetq": {".weight": ((width, out), "I8"), ".weight_scales": ((out,), "F16")},
        }
        layout |= {f"{key}{end}": column for end, column in packed[method].items()}
    config = LLAMA | {"quantization_config": {"quant_method": method}}
    found = ledger_of(tmp_path, layout, config)
    # embedding, projections, three norms
    assert found.parameters == 12_800 + 4 * 16_384 + 3 * 32_768 + 3 * 128 == 177_024
    assert found.agreement is not None
    assert found.agreement.agrees, found.agreement


def test_a_scale_of_a_tensor_of_nvfp4_in_gguf_is_state(tmp_path: Path):
    tensors = (
        B.tensor("token_embd.weight", (256, 100), 1, 0),
        B.tensor("output_norm.weight", (256,), 0, 51_200),
        B.tensor("blk.0.attn_q.weight", (256, 256), 40, 52_224),
        B.tensor("blk.0.attn_q.scale", (1,), 0, 89_088),
    )
    path = tmp_path / "nvfp4.gguf"
    path.write_bytes(B.file(tensors, data=b""))
    os.truncate(path, path.stat().st_size + 89_088 + 32)
    found = ex.ledger(str(path))
    assert found.parameters == 25_600 + 256 + 65_536 == 91_392
    assert found.collections["quantization"] == 1
