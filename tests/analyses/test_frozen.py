"""Tables of positions that reference implementations store as parameters and do not train."""

from math import prod

import pytest

import explorer as ex
from tests.identify.state.test_field_cases import write_zeros

Shapes = dict[str, tuple[int, ...]]


def whisper(encoder: str, filters: int) -> Shapes:
    """Return the tensors of a tiny Whisper around its encoder's table of positions."""
    return {
        f"{encoder}.embed_positions.weight": (1500, 8),
        f"{encoder}.conv1.weight": (8, 80, 3),
        **{f"{encoder}.conv{n}.weight": (8, 8, 3) for n in range(2, filters + 1)},
        "model.decoder.embed_positions.weight": (448, 8),
        "model.decoder.embed_tokens.weight": (100, 8),
    }


@pytest.mark.parametrize("encoder", ["model.encoder", "audio_tower"])
def test_positions_that_the_reference_freezes_are_said_beside_the_total(encoder, tmp_path):
    """transformers: `embed_positions.requires_grad_(False)`; its own totals include them."""
    shapes = whisper(encoder, 2)
    ledger = ex.ledger(write_zeros(tmp_path / "model.safetensors", shapes))
    total, frozen = sum(map(prod, shapes.values())), 1500 * 8
    assert ledger.parameters == total
    (note,) = (note for note in ledger.notes if "freezes" in note)
    assert f"({frozen:,} elements)" in note
    assert f"{total - frozen:,} are trained" in note
    assert f"{frozen / total:.1%} of the parameters" in note


def test_positions_of_masked_autoencoders_are_said_to_be_frozen(tmp_path):
    """He et al. 2021: `pos_embed` and `decoder_pos_embed` are sinusoids without gradient."""
    shapes = {
        "pos_embed": (1, 197, 8),
        "decoder_pos_embed": (1, 197, 4),
        "blocks.0.mlp.fc1.weight": (32, 8),
    }
    ledger = ex.ledger(write_zeros(tmp_path / "model.safetensors", shapes))
    assert ledger.parameters == sum(map(prod, shapes.values()))
    assert sum("freezes" in note for note in ledger.notes) == 2
    del shapes["decoder_pos_embed"]  # a plain vision transformer learns its own
    ledger = ex.ledger(write_zeros(tmp_path / "model.safetensors", shapes))
    assert not any("freezes" in note for note in ledger.notes)


@pytest.mark.parametrize("filters", [0, 1])
def test_learned_positions_are_not_said_to_be_frozen(filters: int, tmp_path):
    shapes = whisper("model.encoder", filters)
    if not filters:
        del shapes["model.encoder.conv1.weight"]
    ledger = ex.ledger(write_zeros(tmp_path / "model.safetensors", shapes))
    assert not any("freezes" in note for note in ledger.notes)
