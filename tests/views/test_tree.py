"""The tree as text: what is sharded shows its bytes on a device beside the global ones."""

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

import explorer as ex
from explorer.document.layout import table_lines
from explorer.views.tree import tensors_table, tree_table


def sharded() -> dict:
    mesh = AbstractMesh((4, 2), ("data", "model"))
    placed = NamedSharding(mesh, PartitionSpec("data", "model"))
    kernel = jax.ShapeDtypeStruct((800, 64), jnp.float32, sharding=placed)
    return {"dense": {"kernel": kernel, "bias": jnp.zeros(64)}}


def test_components_of_the_tree_are_those_of_the_ledger():
    """A tensor's own name is not that of a module that it is in."""
    trees = (
        {"mystery": jnp.ones((4, 3)), "other_thing": jnp.ones(3)},
        {"pooler": {"kernel": jnp.ones((4, 3))}, "x": jnp.ones((2, 2))},
        {
            "a": {"conv": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}},
            "y": jnp.ones(2),
        },
    )
    for tree in trees:
        inventory = ex.explore(tree)
        table = tree_table(inventory)
        at = [column.title for column in table.columns].index("component")
        shown = {word for row in table.rows[:-1] for word in row[at].split(", ") if word}
        assert shown == set(ex.ledger(inventory).components)


def test_bytes_on_a_device_stand_beside_the_global_ones():
    inventory = ex.explore(sharded())
    # a quarter of 800 rows by half of 64 columns, and the whole bias
    assert inventory.device_nbytes == 4 * (200 * 32 + 64)
    assert inventory.nbytes == 4 * (800 * 64 + 64)
    for table in (tree_table(inventory), tensors_table(inventory)):
        lines = table_lines(table, 200)
        assert lines[0].endswith("per device")
        assert lines[-1].endswith("205.1 kB     25.9 kB")
        assert any("('data', 'model')" in line for line in lines)


def test_nothing_sharded_shows_no_such_column():
    inventory = ex.explore({"kernel": jnp.zeros((4, 4))})
    assert inventory.device_nbytes is None
    assert "per device" not in table_lines(tree_table(inventory), 200)[0]


def test_depth_and_order():
    tree = {
        "b": {"x": {"y": {"kernel": jnp.zeros((9, 9)), "deep": {"scale": jnp.zeros(1)}}}},
        "a": {"kernel": jnp.zeros((2, 2))},
    }
    inventory = ex.explore(tree)

    def names(**options) -> list[str]:
        lines = table_lines(tree_table(inventory, **options), 120)[1:-2]
        return [line.split("  [")[0].split("   ")[0].rstrip() for line in lines]

    assert names() == ["a", "b/x/y", "  deep", "  kernel"]
    assert names(depth=1) == ["a", "b/x/y"]
    assert names(sort="parameters") == ["b/x/y", "  kernel", "  deep", "a"]
    assert names(sort="name") == ["a", "b/x/y", "  deep", "  kernel"]
