"""Whole published layouts, their figures worked out by hand from the architecture."""

from math import prod
from pathlib import Path

import pytest

import explorer as ex
from explorer.analyses.ledger import Ledger
from explorer.document.layout import table_lines
from explorer.document.text import text_of
from explorer.views.ledger import ledger_document
from explorer.views.tree import tree_table
from tests.checkpoints import Layout, write_folder

T5 = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}
BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
ESM = {"model_type": "esm", "architectures": ["EsmForMaskedLM"]}


def stored(layout: Layout) -> int:
    return sum(prod(shape) for shape, _ in layout.values())


def ledger_of(folder: Path, layout: Layout, config: dict | None = None) -> Ledger:
    """The ledger of a layout, once its figures have been seen to add up."""
    ledger = ex.ledger(write_folder(folder, layout, config))
    assert ledger.weights + ledger.biases == ledger.parameters
    assert sum(ledger.roles.values()) == ledger.parameters
    assert sum(ledger.components.values()) == ledger.parameters
    assert ledger.collections["params"] == ledger.parameters
    assert sum(ledger.dtypes.values()) == sum(ledger.collections.values())
    assert ledger.stored_elements == stored(layout)
    return ledger


def float32(**shapes: tuple[int, ...]) -> Layout:
    return {name.replace("__", "."): (shape, "F32") for name, shape in shapes.items()}


def t5(names: str = "encoder decoder lm_head") -> Layout:
    """A T5 of one block: 100 words, 8 wide, as its first files stored it."""
    layout = float32(
        shared__weight=(100, 8),
        encoder__block__0__layer__0__SelfAttention__q__weight=(8, 8),
        decoder__block__0__layer__1__EncDecAttention__q__weight=(8, 8),
        decoder__block__0__layer__1__EncDecAttention__relative_attention_bias__weight=(
            32,
            2,
        ),
    )
    for name in names.split():
        last = "weight" if name == "lm_head" else "embed_tokens.weight"
        layout[f"{name}.{last}"] = ((100, 8), "F32")
    return layout


def test_t5_shares_one_table_under_four_names(tmp_path: Path):
    ledger = ledger_of(tmp_path, t5(), T5)
    # 100 x 8 words + 2 x 8 x 8; cross-attention's 32 x 2 table is read by no model
    assert ledger.parameters == 800 + 128
    assert ledger.collections == {"params": 928, "unused": 64}
    assert len(ledger.tied[0]) == 4
    # 4 x 800 + 128 + 64 = 3,392 stored = 928 + 64 + 3 x 800
    assert ledger.notes == [
        "cross-attention position tables (one tensor): 64 elements are unused, not parameters",
        "encoder/embed_tokens/weight, decoder/embed_tokens/weight and lm_head/weight are tied "
        "to shared/weight (t5 models share one table between encoder and decoder; config.json "
        "leaves it unset and t5 models are tied): 2,400 stored elements count once",
    ]


def test_flan_t5_keeps_its_head_separate_and_still_shares_its_table(tmp_path: Path):
    ledger = ledger_of(tmp_path, t5(), {**T5, "tie_word_embeddings": False})
    assert ledger.parameters == 2 * 800 + 128  # words, head, two projections
    assert ledger.tied == [
        ["shared/weight", "encoder/embed_tokens/weight", "decoder/embed_tokens/weight"]
    ]
    said = ledger.provenance["parameters"]
    assert "config.json says tie_word_embeddings: false" in said  # a rule, so not exact


def test_a_t5_without_config_counts_every_name_and_says_so(tmp_path: Path):
    ledger = ledger_of(tmp_path, t5(), None)
    assert ledger.parameters == 4 * 800 + 128
    assert ledger.provenance["parameters"].startswith(
        "assumed (encoder/embed_tokens/weight"
    )
    for figure in ("weights", "roles", "components", "nbytes", "dtypes", "collections"):
        assert ledger.provenance[figure] == "assumed (as parameters)"
    assert ledger.provenance["biases"] == "inferred (roles by name)"


def test_words_may_be_fewer_than_positions(tmp_path: Path):
    """ESM-2 has 33 amino acids and 1,026 positions; its head is the smaller table."""
    layout = float32(
        esm__embeddings__word_embeddings__weight=(33, 8),
        esm__embeddings__position_embeddings__weight=(1026, 8),
        lm_head__decoder__weight=(33, 8),
        lm_head__bias=(33,),
    )
    ledger = ledger_of(tmp_path, layout, ESM)
    assert ledger.parameters == 33 * 8 + 1026 * 8 + 33
    assert ledger.tied == [
        ["esm/embeddings/word_embeddings/weight", "lm_head/decoder/weight"]
    ]


def test_the_two_names_of_berts_head_bias(tmp_path: Path):
    layout = float32(
        bert__embeddings__word_embeddings__weight=(50, 8),
        cls__predictions__bias=(50,),
        cls__predictions__decoder__weight=(50, 8),
        cls__predictions__decoder__bias=(50,),
    )
    ledger = ledger_of(tmp_path / "with", layout, BERT)
    assert (ledger.parameters, ledger.biases) == (50 * 8 + 50, 50)
    ledger = ledger_of(tmp_path / "without", layout, None)
    assert (ledger.parameters, ledger.biases) == (2 * (50 * 8 + 50), 100)
    assert ledger.provenance["biases"].startswith("assumed (cls/predictions/decoder/bias")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "somebody_elses", "architectures": ["SomeForCausalLM"]},
        {"architectures": ["SomeForCausalLM"]},
    ],
)
def test_of_an_unknown_architecture_nothing_is_claimed(tmp_path: Path, config: dict):
    layout = float32(model__embed_tokens__weight=(50, 8), lm_head__weight=(50, 8))
    ledger = ledger_of(tmp_path, layout, config)
    assert (ledger.parameters, ledger.tied) == (800, [])
    assert ledger.provenance["parameters"].startswith("assumed")


def test_tables_in_a_list_are_not_one(tmp_path: Path):
    """Four codebooks of one shape, as in MusicGen's decoder, are four tables."""
    layout: Layout = {
        f"decoder.embed_tokens.{i}.weight": ((50, 8), "F32") for i in range(4)
    }
    layout |= {f"lm_heads.{i}.weight": ((50, 8), "F32") for i in range(4)}
    config = {"model_type": "musicgen", "tie_word_embeddings": True}
    ledger = ledger_of(tmp_path, layout, config)
    assert (ledger.parameters, ledger.tied) == (8 * 400, [])


def test_a_head_that_is_not_stored_has_its_own_name(tmp_path: Path):
    layout = float32(model__decoder__embed_tokens__weight=(50, 8))
    config = {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
    }
    ledger = ledger_of(tmp_path, layout, config)
    assert ledger.parameters == 400
    assert ledger.tied == [["model/decoder/embed_tokens/weight", "proj_out/weight"]]


def test_state_is_counted_in_its_own_words(tmp_path: Path):
    layout: Layout = float32(conv__weight=(8, 3, 3, 3), bn__weight=(8,), bn__bias=(8,))
    layout |= float32(bn__running_mean=(8,), bn__running_var=(8,), betas=(1000,))
    layout |= float32(model_ema__convweight=(8, 3, 3, 3), a__attn__masked_bias=())
    layout["bn.num_batches_tracked"] = ((), "I64")
    layout |= {f"{tower}.position_ids": ((1, 77), "I64") for tower in ("text", "vision")}
    ledger = ledger_of(tmp_path, layout)
    assert ledger.parameters == 8 * 27 + 16
    assert ledger.buffers == 8 + 8 + 1000 + 1 + 1 + 154
    assert sorted(ledger.notes) == [
        "2 tensors of position ids: 154 elements are buffers, not parameters",
        "2 tensors of running statistics: 16 elements are buffers, not parameters",
        "batch counters (one tensor): 1 element, not a parameter",
        "mask fill values (one tensor): 1 element, not a parameter",
        "moving averages of parameters (one tensor): 216 elements are second copies, not "
        "parameters; by names and shapes (model_ema/convweight): were they learned, they would be "
        "48.2% of the parameters (like= with the model reads its types)",
        "noise schedules (one tensor): 1,000 elements are buffers, not parameters; by names "
        "and shapes (betas): were they learned, they would be 81.2% of the parameters (like= "
        "with the model reads its types)",
    ]


def test_multi_token_prediction_layers_are_a_rule(tmp_path: Path):
    layout = float32(
        model__embed_tokens__weight=(50, 8),
        model__layers__0__mlp__up_proj__weight=(16, 8),
        model__layers__1__mlp__up_proj__weight=(16, 8),
        model__layers__1__eh_proj__weight=(8, 16),
    )
    ledger = ledger_of(tmp_path, layout)
    assert ledger.collections == {"params": 400 + 128, "mtp": 128 + 128}
    assert ledger.provenance["parameters"] == (
        "inferred (multi-token-prediction layers are not parameters; by name and shape; "
        "the format does not mark buffers)"
    )
    assert ledger.provenance["buffers"].startswith("inferred (")


def nf4(name: str, out: int, width: int) -> Layout:
    """A double-quantized layer: an absmax byte for 64 weights, a float for 256 of those."""
    blocks = out * width // 64
    return {
        f"{name}.weight": ((out * width // 2, 1), "U8"),
        f"{name}.weight.absmax": ((blocks,), "U8"),
        f"{name}.weight.nested_absmax": ((-(-blocks // 256),), "F32"),
        f"{name}.weight.nested_quant_map": ((256,), "F32"),
        f"{name}.weight.quant_map": ((16,), "F32"),
        f"{name}.weight.quant_state.bitsandbytes__nf4": ((120,), "U8"),
    }


def test_a_packed_layer_is_one_row_and_one_sentence(tmp_path: Path):
    layout = nf4("model.layers.0.mlp.up_proj", 512, 256)
    ledger = ledger_of(tmp_path, layout)
    assert ledger.parameters == 512 * 256 == 131_072
    # 2,048 absmax + 8 nested + 256 + 16 + 120 bytes of JSON
    assert ledger.collections["quantization"] == 2448
    # 65,536 + 2,048 + 4 x (8 + 256 + 16) + 120 bytes
    assert ledger.bits_per_weight == 8 * 68_824 / 131_072
    assert ledger.notes == [
        "5 tensors of bitsandbytes absmax, quant_map and quant_state: 2,448 elements are "
        "quantisation state, not parameters",
        "1 tensor packed by bitsandbytes NF4, of known size and unknown shape: 65,536 stored "
        "elements are 131,072 parameters",
    ]
    assert ledger.provenance["quantization"] == "inferred (by name and shape)"
    rows = table_lines(tree_table(ex.explore(tmp_path)), 160)
    assert len([row for row in rows if "up_proj" in row]) == len(rows) - 3 == 1


@pytest.mark.parametrize("width", [60, 100, 160])
def test_how_a_figure_is_known_goes_on_below_itself(tmp_path: Path, width: int):
    document = ledger_document(ledger_of(tmp_path, t5(), T5))
    lines = text_of(document, width).splitlines()
    assert max(map(len, lines)) <= width
    start = next(i for i, line in enumerate(lines) if line.startswith("parameters"))
    assert "inferred (t5 models" in lines[start]
    if width < 160:
        assert lines[start + 1].startswith(" " * 20)
    assert not any("…" in line and not line.endswith("…") for line in lines[start:])
