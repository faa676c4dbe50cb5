"""A tree as a picture: heights are parameters, and files of others are left alone."""

from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.views.tree_plot import plot_tree
from tests.cli.in_process import run


def test_heights_are_parameters():
    inventory = ex.explore("llama-3.1-8b")
    (panel,) = plot_tree(inventory).axes
    parts = {}
    for patch in panel.patches:
        level = round(patch.get_x(), 2)
        parts[level] = parts.get(level, 0.0) + patch.get_height()
    assert parts[0.0] == pytest.approx(1.0)
    # what is below the first level: all of its tensors fill the whole height
    assert parts[0.45] == pytest.approx(1.0)
    texts = [text.get_text() for text in panel.texts]
    mlp = inventory.select("**/mlp/**").num_parameters
    assert any(text.startswith("mlp\n70.2%") and f"{mlp:,}" in text for text in texts)
    legend = [text.get_text() for text in panel.get_legend().get_texts()]
    assert legend[:2] == ["mlp 70.2%", "attention 16.7%"]


def test_the_title_counts_the_tensors_that_hold_parameters():
    tree = {"params": {"w": np.ones((4, 3))}, "batch_stats": {"mean": np.ones(3)}}
    (panel,) = plot_tree(ex.explore(tree)).axes
    assert panel.get_title(loc="left").endswith("12 parameters in 1 tensor")


def test_the_root_of_a_folder_has_its_last_name(tmp_path: Path):
    np.savez(tmp_path / "tiny.npz", kernel=np.ones((4, 3), "float32"))
    (panel,) = plot_tree(ex.explore(tmp_path / "tiny.npz")).axes
    assert panel.texts[0].get_text().startswith("tiny.npz\n")


def test_names_are_never_markup():
    (panel,) = plot_tree(ex.explore({"$x^2$": np.ones(3), "b": np.ones(2)})).axes
    assert any("$x^2$" in text.get_text() for text in panel.texts)
    assert not any(text.get_parse_math() for text in panel.texts)


def test_the_command_saves_it_and_replaces_its_own_alone(tmp_path: Path):
    for _ in range(2):
        done = run("show", "gpt2", "--plot", "tree.png", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "mine.png").write_bytes(b"mine")
    done = run("show", "gpt2", "--plot", "mine.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_a_tree_without_parameters_is_drawn_by_bytes_and_an_empty_one_refused():
    (panel,) = plot_tree(ex.explore({"step": np.zeros(3, "int32")})).axes
    assert len(panel.patches) == 2
    with pytest.raises(ex.InputError, match="a tree without a byte"):
        plot_tree(ex.explore({}))
