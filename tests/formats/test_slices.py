"""Files of tensor-parallel ranks: joined where names and params.json say how, else refused.

Published totals, as Meta's cards and papers give them, are the oracle of whole models; tiny
ones are cut here with NumPy.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.errors import FormatError
from explorer.formats.files import load_path
from tests.formats.torch_bytes import tensor, write_zip, zeros

# names, and the axis along which FairScale cuts them
AXES = {
    "tok_embeddings.weight": 1,
    "norm.weight": None,
    "output.weight": 0,
    "layers.{}.attention.wq.weight": 0,
    "layers.{}.attention.wk.weight": 0,
    "layers.{}.attention.wv.weight": 0,
    "layers.{}.attention.wo.weight": 1,
    "layers.{}.feed_forward.w1.weight": 0,
    "layers.{}.feed_forward.w2.weight": 1,
    "layers.{}.feed_forward.w3.weight": 0,
    "layers.{}.attention_norm.weight": None,
    "layers.{}.ffn_norm.weight": None,
    "rope.freqs": None,
}
PARAMS = {"dim": 16, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": -1}


def whole(dim: int, layers: int, heads: int, kv: int, hidden: int, vocab: int) -> dict:
    """Return the shapes of a Llama as the papers define them."""
    head = dim // heads
    shapes: dict[str, tuple[int, ...]] = {
        "tok_embeddings.weight": (vocab, dim),
        "norm.weight": (dim,),
        "output.weight": (vocab, dim),
        "rope.freqs": (head // 2,),
    }
    for n in range(layers):
        for name, shape in {
            "attention.wq": (heads * head, dim),
            "attention.wk": (kv * head, dim),
            "attention.wv": (kv * head, dim),
            "attention.wo": (dim, heads * head),
            "feed_forward.w1": (hidden, dim),
            "feed_forward.w2": (dim, hidden),
            "feed_forward.w3": (hidden, dim),
            "attention_norm": (dim,),
            "ffn_norm": (dim,),
        }.items():
            shapes[f"layers.{n}.{name}.weight"] = shape
    return shapes


TINY = whole(16, 2, 4, 2, 24, 40)
SIZE = sum(int(np.prod(shape)) for shape in TINY.values()) - 2


def axis_of(name: str, rows_of_table: bool) -> int | None:
    if name.startswith("tok") and rows_of_table:
        return 0
    parts = name.split(".")
    return AXES[".".join("{}" if part.isdigit() else part for part in parts)]


def write_ranks(
    folder: Path, arrays: dict, ranks: int, params: dict | None, rows_of_table: bool = False
) -> Path:
    folder.mkdir(exist_ok=True)
    for rank in range(ranks):
        root, data = {}, {}
        for number, (name, array) in enumerate(arrays.items()):
            axis = axis_of(name, rows_of_table)
            part = array if axis is None else np.split(array, ranks, axis)[rank]
            root[name] = tensor(str(number), part.shape)
            data[str(number)] = np.ascontiguousarray(part).tobytes()
        write_zip(folder / f"consolidated.{rank:02}.pth", root, data)
    if params is not None:
        (folder / "params.json").write_text(json.dumps(params))
    return folder


@pytest.fixture
def arrays() -> dict:
    rng = np.random.default_rng(0)
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in TINY.items()}


@pytest.mark.parametrize("rows_of_table", [False, True])
@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_are_one_model(arrays, ranks: int, rows_of_table: bool, tmp_path):
    folder = write_ranks(tmp_path, arrays, ranks, PARAMS, rows_of_table)
    ledger = ex.ledger(folder)
    assert ledger.parameters == SIZE
    assert ledger.provenance["parameters"] != "exact"
    assert ledger.buffers == 2
    for name, array in load_path(
        str(folder), lambda key: "wo" in key or "tok" in key
    ).items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(
    ("sizes", "ranks", "published"),
    [
        # Touvron et al. 2023, table 2: 13.0B and 32.5B; Llama 2 70B: 68,976,648,192
        ((5120, 40, 40, 40, 13824, 32000), 2, 13_015_864_320),
        ((6656, 60, 52, 52, 17920, 32000), 4, 32_528_943_616),
        ((8192, 80, 64, 8, 28672, 32000), 8, 68_976_648_192),
    ],
)
def test_published_totals(sizes, ranks: int, published: int, tmp_path):
    """Of storages without bytes: the shapes alone are read."""
    dim, layers, heads, kv, *_ = sizes
    for rank in range(ranks):
        root = {}
        for number, (name, shape) in enumerate(whole(*sizes).items()):
            axis = axis_of(name, False)
            part = tuple(s // ranks if n == axis else s for n, s in enumerate(shape))
            root[name] = tensor(str(number), part, stride=(0,) * len(part), size=1)
        data = {str(number): zeros(1) for number in range(len(root))}
        write_zip(tmp_path / f"consolidated.{rank:02}.pth", root, data)
    params = {"dim": dim, "n_layers": layers, "n_heads": heads, "n_kv_heads": kv}
    (tmp_path / "params.json").write_text(json.dumps(params))
    assert ex.count_parameters(tmp_path) == published


def test_without_sizes_nothing_is_summed(arrays, tmp_path):
    folder = write_ranks(tmp_path, arrays, 2, None)
    with pytest.raises(
        FormatError, match=r"in 2 tensor-parallel shards, and no params\.json"
    ):
        ex.explore(folder)


def test_a_missing_rank_is_refused(arrays, tmp_path):
    folder = write_ranks(tmp_path, arrays, 4, {**PARAMS, "n_kv_heads": 4})
    with pytest.raises(FormatError, match=r"add up to .* by params\.json"):
        ex.explore(folder)  # two heads of keys and values, and not four


def test_ranks_that_differ_are_refused(arrays, tmp_path):
    folder = write_ranks(tmp_path, arrays, 2, PARAMS)
    other = dict(list(arrays.items())[:-1])
    write_ranks(tmp_path / "other", other, 2, None)
    (tmp_path / "other/consolidated.01.pth").replace(folder / "consolidated.01.pth")
    with pytest.raises(FormatError, match="has other names or shapes"):
        ex.explore(folder)


def test_a_name_that_says_no_axis_is_refused(tmp_path):
    """Llama 4's experts, for one: how they are cut, their names do not say."""
    for rank in range(2):
        root = {"layers.0.feed_forward.experts.moe_w_in_eD_F": tensor("0", (4, 8))}
        write_zip(tmp_path / f"consolidated.0{rank}.pth", root, {"0": zeros(32)})
    (tmp_path / "params.json").write_text(json.dumps(PARAMS))
    with pytest.raises(FormatError, match=r"nothing says how .*moe_w_in_eD_F.* is cut"):
        ex.explore(tmp_path)


def test_one_rank_named_by_itself_has_a_note(arrays, tmp_path):
    folder = write_ranks(tmp_path, arrays, 2, PARAMS)
    ledger = ex.ledger(folder / "consolidated.00.pth")
    assert ledger.parameters < SIZE
    assert any("is one of 2 files of ranks" in note for note in ledger.notes)
    (folder / "consolidated.01.pth").unlink()
    for target in (folder, folder / "consolidated.00.pth"):
        (note,) = (n for n in ex.ledger(target).notes if "slice" in n)
        assert "has 8 of the 16 rows of each wq" in note


@pytest.mark.parametrize(
    "names",
    [
        ("mp_rank_00/model_optim_rng.pt", "mp_rank_01/model_optim_rng.pt"),
        ("iter_5/mp_rank_00_001/model_rng.pt", "iter_5/mp_rank_01_001/model_rng.pt"),
        ("reshard-model_part-0.pt", "reshard-model_part-1.pt"),
        ("model_world_size_2_rank_0.pt", "model_world_size_2_rank_1.pt"),
        ("checkpoint_rank0.pt", "checkpoint_rank1.pt"),
    ],
    ids=lambda names: names[0],
)
def test_ranks_of_other_frameworks(names: tuple[str, str], tmp_path):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_zip(path, {"fc.weight": tensor("0", (4, 8))}, {"0": zeros(32)})
    ledger = ex.ledger(tmp_path / names[0])
    assert any("is one of 2 files of ranks" in note for note in ledger.notes)
    (tmp_path / names[1]).unlink()
    if "/" not in names[0]:
        assert not any("of ranks" in n for n in ex.ledger(tmp_path / names[0]).notes)


def test_files_of_other_numbers_are_not_ranks(tmp_path):
    for name in ("model_1.pt", "model_2.pt", "frank_1.pt", "frank_2.pt"):
        write_zip(tmp_path / name, {"fc.weight": tensor("0", (4, 8))}, {"0": zeros(32)})
        assert not any("of ranks" in n for n in ex.ledger(tmp_path / name).notes)
