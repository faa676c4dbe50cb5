"""Which arrays are not parameters: by their own names, and by what is beside them."""

from collections.abc import Iterator, Sequence

from explorer.identify.state.beside import adapter_settings, beside_models
from explorer.identify.state.copies import copies_in
from explorer.identify.state.names import kind_of, named_state, state_of
from explorer.identify.state.optimizers import optimizers_in
from explorer.identify.state.statistics import needs_neighbours, statistics_in
from explorer.identify.state.tables import CORRECTION, State
from explorer.identify.state.tree import NamedArray, Node, tree_of
from explorer.inventory.tensor import PARAMS

__all__ = ["CORRECTION", "NamedArray", "State", "needs_neighbours", "state_of", "states_of"]

_OPTIMIZER: State = ("opt_state", "optimizer state")
_COPY = "ema"


def states_of(rows: Sequence[NamedArray]) -> list[State | None]:
    """Return for each row the state that its arrays are; None for parameters.

    What stands beside an array decides before its name, its name before its place beside a
    model, and its dtype last. What the source itself says is None too, except for
    "params" where it is only the name of an item: see `_is_open`.

    >>> shapes = {"net/kernel": (4, 3), "opt/0/count": (), "opt/0/mu/kernel": (4, 3)}
    >>> states_of([NamedArray(tuple(path.split("/")), shape) for path, shape in shapes.items()])
    [None, ('opt_state', 'optimizer state'), ('opt_state', 'optimizer state')]
    """
    root = tree_of(rows)
    sure = _marked(rows, _sure_marks(root))
    last = _marked(rows, beside_models(root))
    return [
        sure.get(index) or _own_state(row, last.get(index))
        for index, row in enumerate(rows)
    ]


def _own_state(row: NamedArray, beside: State | None) -> State | None:
    path, shape, dtype, said, _ = row
    if said and said != PARAMS:
        return None
    by_kind = kind_of(path, dtype)
    if said:
        # only a format that cannot be learned overrules the source, and a name that no
        # parameter has
        named = by_kind or path[-1:] == (CORRECTION,)
        return (named_state(path, shape, dtype) or by_kind) if named else None
    return named_state(path, shape, dtype) or beside or by_kind


def _sure_marks(root: Node) -> Iterator[tuple[Node, str, str]]:
    """Yield nodes with what all in them is, the surest first."""
    states = optimizers_in(root)
    for node in states:
        yield node, *_OPTIMIZER
    yield from statistics_in(root)
    for node, rule in copies_in(root, states):
        yield node, _COPY, rule
    yield from adapter_settings(root)


def _marked(
    rows: Sequence[NamedArray], marks: Iterator[tuple[Node, str, str]]
) -> dict[int, State]:
    found: dict[int, State] = {}
    for node, collection, rule in marks:
        for index in node.inside():
            if _is_open(rows[index], node, collection):
                found.setdefault(index, (collection, rule))
    return found


def _is_open(row: NamedArray, node: Node, collection: str) -> bool:
    """Return whether a mark may decide what the source says nothing sure of.

    T5X calls its parameters `target`, others a copy of theirs; statistics that NNX keeps
    beside parameters are saved under the name `params` with them; a copy of a whole state
    has its own `params`.
    """
    if row.collection != PARAMS:
        return row.collection == ""
    if row.typed:
        return False
    if collection == _COPY:  # `slow` is marked where optax's counter stands beside it
        is_whole = PARAMS in row.path[_depth(node) :]
        return is_whole or node.name in ("target", "slow")
    return node.name == "target" or collection == "batch_stats"


def _depth(node: Node) -> int:
    """Return the number of names from the root to a node."""
    names = 0
    while node.parent is not None:
        node, names = node.parent, names + 1
    return names
