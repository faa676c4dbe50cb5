"""The tree as text: what is sharded shows its bytes on a device beside the global ones."""

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

import explorer as ex
from explorer.views.tree import tensors_text, tree_text


def sharded() -> dict:
    mesh = AbstractMesh((4, 2), ("data", "model"))
    placed = NamedSharding(mesh, PartitionSpec("data", "model"))
    kernel = jax.ShapeDtypeStruct((800, 64), jnp.float32, sharding=placed)
    return {"dense": {"kernel": kernel, "bias": jnp.zeros(64)}}


def test_bytes_on_a_device_stand_beside_the_global_ones():
    inventory = ex.explore(sharded())
    # a quarter of 800 rows by half of 64 columns, and the whole bias
    assert inventory.device_nbytes == 4 * (200 * 32 + 64)
    assert inventory.nbytes == 4 * (800 * 64 + 64)
    for text in (tree_text(inventory, 200), tensors_text(inventory, 200)):
        assert text.splitlines()[0].endswith("per device")
        assert text.splitlines()[-1].endswith("205.1 kB     25.9 kB")
        assert "('data', 'model')" in text


def test_nothing_sharded_shows_no_such_column():
    inventory = ex.explore({"kernel": jnp.zeros((4, 4))})
    assert inventory.device_nbytes is None
    assert "per device" not in tree_text(inventory, 200)


def test_depth_and_order():
    tree = {
        "b": {"x": {"y": {"kernel": jnp.zeros((9, 9)), "deep": {"scale": jnp.zeros(1)}}}},
        "a": {"kernel": jnp.zeros((2, 2))},
    }
    inventory = ex.explore(tree)

    def names(**options) -> list[str]:
        lines = tree_text(inventory, 120, **options).splitlines()[1:-2]
        return [line.split("  [")[0].split("   ")[0].rstrip() for line in lines]

    assert names() == ["a", "b/x/y", "  deep", "  kernel"]
    assert names(depth=1) == ["a", "b/x/y"]
    assert names(sort="parameters") == ["b/x/y", "  kernel", "  deep", "a"]
    assert names(sort="name") == ["a", "b/x/y", "  deep", "  kernel"]
