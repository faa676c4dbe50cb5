"""The tree of names is that of its paths, whatever blocks of it were looked up."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from explorer.analyses.names import nested
from explorer.analyses.shapes import Shapes
from explorer.inventory.columns import Columns
from explorer.inventory.tensor import Kind

KINDS = [Kind((n,), "float32", n, 4 * n, "kernel", "mlp", "params") for n in (2, 3)]
PARTS = st.sampled_from(["h", "0", "1", "w", "b", ""])
KEYS = st.lists(PARTS, min_size=1, max_size=5).map(".".join)


def tree_of(keys: list[str], numbers: list[int]) -> list:
    """Return the names in order, each with the kind of its tensor or the names below it."""
    shapes = Shapes(Columns(keys, KINDS, numbers))

    def read(node: int) -> object:
        if node < 0:
            return shapes.leaf(node).kind
        return [(name, read(child)) for name, child in shapes.children(node).items()]

    return read(shapes.add(nested(keys, shapes)))  # pyright: ignore


def expected(keys: list[str], numbers: list[int]) -> list:
    """Return the same from nothing but the paths; a tensor at another's module is ".\" in it."""
    root: dict = {}
    for key, number in zip(keys, numbers, strict=True):
        *modules, last = key.split(".")
        node = root
        for name in modules:
            below = node.setdefault(name, {})
            if not isinstance(below, dict):
                node[name] = below = {".": below}
            node = below
        if isinstance(node.get(last), dict):
            node[last]["."] = KINDS[number]
        else:
            node[last] = KINDS[number]

    def read(node: object) -> object:
        return [(k, read(v)) for k, v in node.items()] if isinstance(node, dict) else node

    return read(root)  # pyright: ignore


@settings(max_examples=500, deadline=None)
@given(st.lists(KEYS, min_size=1, max_size=14, unique=True), st.data())
@example([f"e.{i}.{part}.w" for i in range(3) for part in ("up", "down")], None)
def test_tree_has_the_paths_of_the_names_in_order(keys: list[str], data):
    draw = (
        data.draw(st.lists(st.integers(0, 1), min_size=len(keys), max_size=len(keys)))
        if data
        else []
    )
    numbers = draw or [0] * len(keys)
    assert tree_of(keys, numbers) == expected(keys, numbers)


def test_equal_blocks_are_built_once():
    keys = [f"experts.{i}.{part}.weight" for i in range(1000) for part in ("up", "down")]
    columns = Columns(keys, KINDS, [0, 1] * 1000)
    shapes = Shapes(columns)
    [(_, experts)] = nested(keys, shapes).items()
    assert len(experts) == 1000
    assert len(set(experts.values())) == 1
