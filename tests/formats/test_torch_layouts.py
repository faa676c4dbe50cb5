"""What PyTorch stores in other layouts: quantised weights, sparse tensors, optimizers' files."""

from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.errors import FormatError
from tests.formats.torch_bytes import Call, tensor, write_zip, zeros

DATA = Path(__file__).parents[1] / "data/torch_containers"


def sparse(layout: str, parts: tuple) -> Call:
    of = Call("torch.serialization", "_get_layout", (f"torch.sparse_{layout}",))
    return Call("torch._utils", "_rebuild_sparse_tensor", (of, parts))


def test_dynamic_quantization():
    """Linear(4, 3): 12 weights in qint8 and 3 biases; scale and zero point are state."""
    inventory = ex.explore(DATA / "dynamic.pt")
    assert (inventory.num_parameters, inventory.num_biases) == (15, 3)
    weight = inventory["0/_packed_params/_packed_params/weight"]
    assert (weight.shape, weight.dtype, weight.nbytes) == ((3, 4), "qint8", 12)
    assert inventory["0/scale"].collection == inventory["0/zero_point"].collection
    assert inventory["0/scale"].collection == "quantization"


def test_sparse_tensors_count_at_their_dense_size():
    inventory = ex.explore(DATA / "sparse.pt")
    assert inventory.num_parameters == 6 * 16 + 4
    for name in ("coo", "csr", "csc", "bsr", "bsc"):
        assert inventory[name].shape == (4, 4)
    assert inventory["hybrid"].shape == (4, 2, 2)
    assert (
        "coo is sparse (COO), counted at its dense size: 4 of 16 elements are stored"
    ) in inventory.remarks
    assert "1 more sparse tensors" in inventory.remarks


def test_values_of_sparse_tensors_are_dense():
    values = ex.load(DATA / "sparse.pt")
    for name in ("coo", "csr", "csc", "bsr", "bsc", "hybrid"):
        np.testing.assert_array_equal(values[name].reshape(4, 4), np.eye(4), name)


def test_an_optimizers_file_holds_no_parameter():
    inventory = ex.explore(DATA / "optimizer.pt")
    assert (inventory.num_parameters, inventory.num_tensors) == (0, 6)


def test_hostile_sparse_tensors(tmp_path: Path):
    huge = (tensor("0", (2, 1), kind="Long"), tensor("1", (1,)), (1 << 30, 1 << 30))
    path = write_zip(
        tmp_path / "x.pt", {"w": sparse("coo", huge)}, {"0": zeros(2, 8), "1": zeros(1)}
    )
    assert ex.explore(path).num_parameters == 1 << 60
    with pytest.raises(FormatError, match="too large to be made dense"):
        ex.load(path, "w")
    beyond = (*huge[:2], (1 << 40, 1 << 40))
    write_zip(
        tmp_path / "y.pt", {"w": sparse("coo", beyond)}, {"0": zeros(2, 8), "1": zeros(1)}
    )
    with pytest.raises(FormatError, match="has a tensor of more than 2\\^63 bytes"):
        ex.explore(str(tmp_path / "y.pt"))
    outside = (tensor("0", (2, 1), kind="Long"), tensor("1", (1,)), (2, 2))
    data = {"0": (9).to_bytes(8, "little") * 2, "1": zeros(1)}
    path = write_zip(tmp_path / "x.pt", {"w": sparse("coo", outside)}, data)
    with pytest.raises(FormatError, match="'w' has indices outside its shape"):
        ex.load(path, "w")
    path = write_zip(tmp_path / "x.pt", {"w": sparse("coo", (1, 2, (2, 2)))})
    with pytest.raises(
        FormatError, match="a sparse tensor without a size or without its parts"
    ):
        ex.explore(path)
