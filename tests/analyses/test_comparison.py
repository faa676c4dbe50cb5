"""compare names every structural difference once."""

from pathlib import Path

import explorer as ex
from tests.analyses.test_ledger import MODELS, folder_of
from tests.checkpoints import write_folder


def test_each_kind_of_change(tmp_path: Path):
    old = {
        "same": ((2,), "F32"),
        "gone": ((3,), "F32"),
        "shape": ((2, 3), "F32"),
        "cast": ((5,), "F32"),
        "h.0.attn.weight": ((4, 4), "F32"),
    }
    new = {
        "same": ((2,), "F32"),
        "come": ((7,), "F32"),
        "shape": ((3, 2), "F32"),
        "cast": ((5,), "BF16"),
        "transformer.h.0.attn.weight": ((4, 4), "F32"),
    }
    result = ex.compare(
        write_folder(tmp_path / "a", old), write_folder(tmp_path / "b", new)
    )
    assert [change.before for change in result.removed] == ["gone"]
    assert [change.after for change in result.added] == ["come"]
    assert [(c.old, c.new) for c in result.reshaped] == [
        (((2, 3), "float32"), ((3, 2), "float32"))
    ]
    assert [(c.old, c.new) for c in result.recast] == [
        (((5,), "float32"), ((5,), "bfloat16"))
    ]
    assert [(c.before, c.after) for c in result.moved] == [
        ("h/0/attn/weight", "transformer/h/0/attn/weight")
    ]
    assert (result.unchanged, result.identical) == (1, False)


def test_gpt2_file_and_class_differ_by_prefix_masks_and_head(tmp_path: Path):
    model = MODELS["openai-community/gpt2"]
    result = ex.compare(
        folder_of(tmp_path / "disk", model, ondisk=True),
        folder_of(tmp_path / "class", model),
    )
    assert len(result.moved) == 148
    assert all(change.after == f"transformer/{change.before}" for change in result.moved)
    assert [change.after for change in result.added] == ["lm_head/weight"]
    assert len(result.removed) == 12  # the causal masks
    assert ex.compare(tmp_path / "disk/model", tmp_path / "disk/model").identical


def test_equal_endings_are_not_guessed(tmp_path: Path):
    old = {"a.x.weight": ((2,), "F32"), "b.x.weight": ((2,), "F32")}
    new = {"c.x.weight": ((2,), "F32"), "d.x.weight": ((2,), "F32")}
    result = ex.compare(
        write_folder(tmp_path / "a", old), write_folder(tmp_path / "b", new)
    )
    assert not result.moved
    assert len(result.removed) == len(result.added) == 2
