"""Parameters that are read for a mesh: the parts of a process, and nothing twice."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.pretrained.parts import LeafParts
from explorer.training.sharding.mesh import Rule, make_mesh, shardings_of
from tests.training import tiny


class HeldHere:
    """A sharding of which this process has some parts alone."""

    def __init__(self, *indices: tuple[slice, ...]):
        self.indices = indices

    def addressable_devices_indices_map(self, shape: tuple[int, ...]) -> dict[int, Any]:
        return dict(enumerate(self.indices))


def test_of_a_leaf_there_is_memory_for_the_parts_of_this_process():
    rows, columns = slice(2, 4), slice(3, 6)
    sharding: Any = HeldHere((rows, slice(None), columns), (rows, slice(None), columns))
    parts = LeafParts((4, 5, 6), np.dtype("float32"), sharding)
    layers = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    for number, layer in enumerate(layers):
        parts.write((number,), layer)
    (held,) = parts._parts.values()
    np.testing.assert_array_equal(held, layers[rows, :, columns])
    assert held.ctypes.data % 64 == 0


@pytest.mark.parametrize("kept", ["bfloat16", "float32", "float64", "int8"])
@pytest.mark.parametrize("shape", [(1, 7), (130, 1030), (2500, 1801)])
def test_a_transposed_matrix_is_set_as_one_of_its_elements(
    kept: str, shape: tuple[int, int]
):
    stored = np.random.default_rng(0).integers(-99, 99, shape).astype("float32")
    parts = LeafParts(shape[::-1], jax.numpy.dtype(kept))
    parts.write((), stored.T)
    (held,) = parts._parts.values()
    np.testing.assert_array_equal(held.astype("float32"), stored.T)


def folder_of(path: Path) -> Path:
    config = tiny.LLAMA | {"num_hidden_layers": 2}
    model = ex.build_model(config)
    params = model.init(jax.random.key(0), np.zeros((1, 4), np.int32))["params"]
    save_file(ex.to_checkpoint(params, config), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("scan", [False, True])
def test_parameters_are_born_where_the_rules_say(tmp_path: Path, scan: bool):
    folder, mesh = folder_of(tmp_path), make_mesh()
    rules = [Rule(("fsdp", "tensor"), glob="embed/**")]
    _, right = ex.load_pretrained(folder, scan=scan)
    _, found = ex.load_pretrained(folder, scan=scan, mesh=mesh, rules=rules)
    jax.tree.map(np.testing.assert_array_equal, found, right)
    places = jax.tree.map(lambda leaf: leaf.sharding, found)
    assert places == shardings_of(right, mesh, rules)
    assert {type(place) for place in jax.tree.leaves(places)} == {NamedSharding}


def test_rules_and_meshes_that_do_not_fit_are_refused_before_anything_is_read():
    for options, words in (
        ({"rules": [Rule(("fsdp", "tensor"), glob="embed/**")]}, "rules: no mesh"),
        ({"mesh": 8}, "mesh: is int; expected a mesh of devices"),
    ):
        with pytest.raises(InputError, match=words):
            ex.load_pretrained("nowhere", **options)
