"""Stored tensors -> the leaves of a module's parameters, one leaf at a time."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import DeclaredTensor, declare, layer_name
from explorer.architectures.stored_tensors import StoredTensor
from explorer.errors import InputError, printable
from explorer.pretrained.arrays import whole_of
from explorer.pretrained.parts import LeafParts
from explorer.tree.nest import nest

if TYPE_CHECKING:
    import jax
    import numpy as np

    from explorer.formats.pieces import Pieces

__all__ = ["LeafOrigin", "Placing", "gather", "origins"]

_AHEAD = 1 << 27  # bytes

Path = tuple[str, ...]
Placing = Callable[[Any], Any]  # a tree of shapes -> the shardings of its leaves


class LeafOrigin(NamedTuple):
    """A leaf of a layout, and the paths of the unrolled leaves that it consists of."""

    leaf: DeclaredTensor
    layers: tuple[Path, ...]
    stacked: bool


class _Source(NamedTuple):
    """The stored tensor that holds a leaf, and the leaf's position among those it holds."""

    name: str
    stored: StoredTensor
    position: int


def origins(architecture: Architecture, scan: bool) -> Iterator[LeafOrigin]:
    """Yield every leaf of a layout with the unrolled leaves that it consists of."""
    stacks = dict(_stacks(architecture))
    for leaf in declare(architecture, scan):
        layers = stacks.get(leaf.path[:2]) if scan else None
        if layers is None:
            yield LeafOrigin(leaf, (leaf.path,), False)
        else:
            rest = leaf.path[2:]
            yield LeafOrigin(leaf, tuple((layer, *rest) for layer in layers), True)


def _stacks(architecture: Architecture) -> Iterator[tuple[Path, list[str]]]:
    """Yield the path of each stacked block with the names of its layers."""
    start = 0
    for number, stage in enumerate(architecture.stages):
        period = len(stage.blocks)
        for index in range(period):
            layers = range(start + index, start + stage.layers, period)
            yield (f"stages_{number}", f"block_{index}"), list(map(layer_name, layers))
        start += stage.layers


def gather(
    architecture: Architecture,
    stored: Mapping[str, StoredTensor],
    tensors: "MutableMapping[str, np.ndarray | Pieces]",
    scan: bool,
    dtype: "np.dtype | None",
    place: str,
    placing: "Placing | None" = None,
    is_own: bool = False,
) -> dict[str, Any]:
    """Return the nested parameters that stored tensors hold, each leaf a new array.

    One leaf at a time is copied, of a sharded one what this process holds.

    Args:
        architecture: the model.
        stored: the tensors that hold its leaves, all of them.
        tensors: their values; each is removed from the mapping after its last use.
        scan: whether identical layers are stacked.
        dtype: that of every leaf; None keeps the stored one.
        place: what errors call the source.
        placing: returns the shardings of a tree of shapes; None for the default device.
        is_own: whether nothing else has seen the values: pages of mapped files are given back.

    Raises:
        InputError: no dtype is given, and one leaf stacks tensors of several dtypes.
    """
    shapes = {leaf.path: leaf.shape for leaf in declare(architecture)}
    sources: dict[Path, list[_Source]] = {}
    for name, tensor in stored.items():
        for position, path in enumerate(tensor.leaves):
            sources.setdefault(path, []).append(_Source(name, tensor, position))
    if dtype is None:
        formats = {name: tensors[name].dtype for name in stored}
        _require_one_dtype(architecture, sources, formats, scan, place)
    uses = Counter(source.name for each in sources.values() for source in each)
    shardings = _shardings(architecture, scan, placing)
    params: dict[Path, jax.Array] = {}
    layout = [*origins(architecture, scan)]
    ahead = _read_ahead(tensors, _in_order(layout, sources))
    for leaf, layers, stacked in layout:
        every = [
            (row, source) for row, path in enumerate(layers) for source in sources[path]
        ]
        kind = dtype or tensors[every[0][1].name].dtype
        parts = LeafParts(leaf.shape, kind, shardings.get(leaf.path))
        for row, source in every:
            where = (row,) if stacked else ()
            expert = source.stored.expert
            where = where if expert is None else (*where, expert)
            next(ahead)
            parts.write(where, _read(source, tensors[source.name], shapes))
            uses[source.name] -= 1
            if not uses[source.name]:
                _release(tensors.pop(source.name), is_own)
        params[leaf.path] = parts.array()
    return nest(params)


def _shardings(
    architecture: Architecture, scan: bool, placing: "Placing | None"
) -> "dict[Path, jax.sharding.Sharding]":
    """Return where each leaf is placed, by its path."""
    if placing is None:
        return {}
    import jax
    from flax.traverse_util import flatten_dict

    shapes = {
        leaf.path: jax.ShapeDtypeStruct(leaf.shape, "float32")
        for leaf in declare(architecture, scan)
    }
    return flatten_dict(placing(nest(shapes)))  # pyright: ignore[reportReturnType]


def _in_order(layout: list[LeafOrigin], sources: Mapping[Path, list[_Source]]) -> list[str]:
    """Return the names of the stored tensors, as they are read."""
    paths = (path for origin in layout for path in origin.layers)
    return [source.name for path in paths for source in sources[path]]


def _read_ahead(
    tensors: "Mapping[str, np.ndarray | Pieces]", names: list[str]
) -> Iterator[None]:
    """Before each tensor, let the system read those that follow it, up to some bytes ahead.

    Mapped pages would else be waited for one after the other, while a disk is idle.
    """
    import numpy as np

    from explorer.storage.pages import read_ahead

    waiting, asked = deque(names), 0
    for name in names:
        while waiting and asked < _AHEAD:
            following = tensors.get(waiting.popleft())
            if isinstance(following, np.ndarray):
                read_ahead(following)
                asked += following.nbytes
        reached = tensors.get(name)
        yield
        asked -= reached.nbytes if isinstance(reached, np.ndarray) else 0


def _release(tensor: "np.ndarray | Pieces", is_own: bool) -> None:
    """Give back the pages of a tensor that is not read again."""
    import numpy as np

    from explorer.storage.pages import give_back

    if is_own and isinstance(tensor, np.ndarray):
        give_back(tensor)


def _require_one_dtype(
    architecture: Architecture,
    sources: Mapping[Path, list[_Source]],
    formats: "Mapping[str, np.dtype]",
    scan: bool,
    place: str,
) -> None:
    """Raise if a leaf stacks tensors of several dtypes: not all could be saved as stored."""
    for _, layers, stacked in origins(architecture, scan):
        first, *others = [source.name for path in layers for source in sources[path]]
        other = next((n for n in others if formats[n] != formats[first]), None)
        if other is not None:
            kinds = {formats[name] for name in (first, *others)}
            unstacked = ", or scan=False" if stacked else ""
            raise InputError(
                place,
                found=f"would stack {printable(first)} {formats[first].name} and "
                f"{printable(other)} {formats[other].name}",
                expected="one dtype in a stack",
                cure=f'pass dtype="{_common(kinds).name}"{unstacked}',
            )


def _read(
    source: _Source, tensor: "np.ndarray | Pieces", shapes: dict[Path, Any]
) -> "np.ndarray":
    of_expert = source.stored.expert is not None
    wanted = [
        shapes[path][1:] if of_expert else shapes[path] for path in source.stored.leaves
    ]
    return source.stored.layout.leaves(whole_of(tensor), wanted)[source.position]


def _common(formats: "set[np.dtype]") -> "np.dtype":
    from functools import reduce

    import jax.numpy as jnp

    return reduce(jnp.promote_types, formats)
