"""The folded tree stands for every tensor and adds up."""

from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest

import explorer as ex
from explorer.analyses.collapse import collapse, compact, walk
from tests import facts
from tests.analyses.test_ledger import MODELS, folder_of
from tests.checkpoints import write_folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ex.Inventory]:
    """Return the inventory of a published file layout, explored once."""

    @cache
    def explored(model_id: str) -> ex.Inventory:
        folder = tmp_path_factory.mktemp("published")
        return ex.explore(folder_of(folder, MODELS[model_id], ondisk=True))

    return explored


@pytest.mark.slow
@pytest.mark.parametrize("model_id", ["deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b"])
@pytest.mark.parametrize("shape", [lambda root: root, compact])
def test_rows_add_up(published, model_id: str, shape):
    inventory = published(model_id)
    root = shape(collapse(inventory))
    ends = [row for row, _ in walk(root) if not row.children]
    for word, total in (
        ("tensors", inventory.num_tensors),
        ("parameters", inventory.num_parameters),
        ("weights", inventory.num_weights),
        ("biases", inventory.num_biases),
        ("nbytes", inventory.nbytes),
    ):
        assert sum(getattr(row, word) for row in ends) == getattr(root, word) == total


@pytest.mark.parametrize("names", [*permutations(["a.b", "a/b", "a", "a/b/c", "a/b/."], 4)])
def test_one_path_of_several_keys_has_a_row_for_each(tmp_path: Path, names: tuple):
    layout = dict.fromkeys(names, ((2, 2), "F32"))
    root = collapse(ex.explore(write_folder(tmp_path, layout)))
    ends = [row for row, _ in walk(root) if not row.children]
    assert len(ends) == root.tensors == 4


@pytest.mark.slow
def test_91_991_tensors_print_in_one_screen(published):
    inventory = published("deepseek-ai/DeepSeek-V3")
    assert inventory.num_tensors == 91_991
    rows = list(walk(compact(collapse(inventory))))
    assert len(rows) < 70
    names = [row.name for row, _ in walk(collapse(inventory))]
    assert {"[0-2]", "[3-60]", "[0-255]"} <= set(names)


def test_folding_keeps_different_layers_separate(tmp_path: Path):
    layout = {
        "layers.0.mlp.weight": ((4, 4), "F32"),
        "layers.1.mlp.weight": ((4, 4), "BF16"),  # another format folds
        "layers.2.mlp.weight": ((4, 8), "F32"),  # another shape does not
        "layers.3.mlp.weight": ((4, 4), "F32"),
        "norm_a.weight": ((4,), "F32"),
    }
    root = collapse(ex.explore(write_folder(tmp_path, layout)))
    layers = root.children[0]
    assert [row.name for row in layers.children] == ["[0-1,3]", "2"]
    folded = layers.children[0]
    assert (folded.copies, folded.parameters, folded.nbytes) == (3, 48, 16 * (4 + 2 + 4))
    assert folded.children[0].children[0].dtypes == ("float32", "bfloat16")
    unfolded = collapse(ex.explore(tmp_path), fold=False)
    assert [row.name for row in unfolded.children[0].children] == ["0", "1", "2", "3"]


def test_a_printed_row_selects_its_tensors(tmp_path: Path):
    inventory = ex.explore(folder_of(tmp_path, MODELS["mistralai/Mixtral-8x7B-v0.1"]))
    glob = "model/layers/[0-31]/block_sparse_moe/experts/[0-7]/w1/weight"
    listing = facts.listing("mistralai/Mixtral-8x7B-v0.1")["tensors"]
    assert (
        inventory.select(glob).num_tensors == sum(".w1." in name for name in listing) == 256
    )


def test_a_name_of_hundreds_of_parts(tmp_path: Path):
    layout = {
        ".".join(["a"] * 250): ((2,), "F32"),
        "a.a": ((3,), "F32"),
        "a": ((1,), "F32"),
    }
    inventory = ex.explore(write_folder(tmp_path, layout))
    root = compact(collapse(inventory))
    assert (root.tensors, root.parameters) == (3, 6)
    assert max(len(line) for line in str(inventory).splitlines()) <= 100
