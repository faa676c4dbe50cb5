"""Walks the records of a checkpoint: every tensor in it, its key and its collection.

A checkpoint is a state dict or whatever a training loop saved: nested dicts, lists,
options. Containers may be shared and may even contain themselves, so that the length of
the pickle bounds the steps of the walk.
"""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import NamedTuple

from explorer.errors import FormatError, printable
from explorer.formats.bounds import most_tensors
from explorer.formats.pytorch.jax_names import content_of
from explorer.formats.pytorch.machine import Global, Instance
from explorer.formats.pytorch.plain_names import PickledArray
from explorer.formats.pytorch.records import Sparse, Tensor
from explorer.formats.pytorch.storages import Declared
from explorer.paths import Key, name_of, path_of

__all__ = ["EMA", "TorchLeaf", "collection_of_path", "leaves_of"]

_Classes = Callable[[str], Declared | None]
MAX_DEPTH = 100
# steps of a walk, or characters: those that a short pickle has, of a byte, of a tensor
STEPS, STEPS_PER_BYTE, STEPS_OF_TENSOR = 1_000_000, 4, 32
MAX_WRAPPERS = 4  # a Variable of PRNG keys has two
EMA, OPTIMIZER, TRAINING = "ema", "opt_state", "training_state"
_EMA_STARTS = ("model_ema.", "ema_model.", "ema.")
_TRAINING_WORDS = ("scheduler", "scaler")
_TRAINING_NAMES = ("callbacks", "loops", "hyper_parameters", "hparams", "args")


class TorchLeaf(NamedTuple):
    """A tensor of a checkpoint, its key, and its collection where its path decides it.

    Of a sparse tensor, `tensor` is the stored values.
    """

    key: Key
    tensor: Tensor | PickledArray
    collection: str
    sparse: Sparse | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, of a sparse tensor the dense one, of PRNG keys without their words."""
        is_key = isinstance(self.tensor, PickledArray) and self.tensor.key_format
        shape = self.sparse.shape if self.sparse else self.tensor.shape
        return shape[:-1] if is_key else shape


def leaves_of(
    path: str,
    root: object,
    pickle_bytes: int,
    classes: _Classes = lambda name: None,
) -> list[TorchLeaf]:
    """Return every tensor of a checkpoint, in its order.

    A tensor of a flat state dict keeps its dotted name; a nested one has the tuple of the
    names on its path, dotted ones split.

    Args:
        path: what errors call the file.
        root: the records of its pickle.
        pickle_bytes: the length of the pickle, which bounds the walk.
        classes: the declarations of a TorchScript class, by its name.

    Raises:
        FormatError: the records contain themselves, nest too deeply, repeat without end,
            or give two tensors one name.
    """
    walk = _RecordWalk(path, pickle_bytes, classes)
    if isinstance(root, Tensor | PickledArray | Sparse):
        walk.add((), 0, "tensor", root, "")
    else:
        content, collection = _opened(root)
        if isinstance(content, PickledArray):
            walk.add((), 0, "tensor", content, collection)
        else:
            walk.enter(content, (), 0, collection or _collection("", content))
    leaves = _without_scales(walk.leaves)
    if any(leaf.collection == EMA for leaf in leaves) and not any(
        leaf.collection in ("", "params") for leaf in leaves
    ):  # only the average was saved: these are the parameters
        return [
            leaf._replace(collection=leaf.collection.removeprefix(EMA)) for leaf in leaves
        ]
    return leaves


class _RecordWalk:
    def __init__(self, path: str, pickle_bytes: int, classes: _Classes):
        self.path, self.classes = path, classes
        self.steps = STEPS + STEPS_PER_BYTE * pickle_bytes
        self.most = most_tensors(pickle_bytes)
        self.leaves: list[TorchLeaf] = []
        self.taken: set[Key] = set()
        self.open: set[int] = set()

    def fault(self, found: str) -> FormatError:
        return FormatError(self.path, found=found, expected="a tree of tensors")

    def enter(self, node: object, prefix: tuple[str, ...], length: int, inherited: str):
        """Visit what a container holds; anything but a container or a tensor is skipped.

        Args:
            node: the container.
            prefix: names on the path to it.
            length: characters of those names, and one for each.
            inherited: collection of what is in it, if known.
        """
        if id(node) in self.open:
            raise self.fault(f"{_shown(prefix)} contains itself")
        if len(self.open) >= MAX_DEPTH:
            raise self.fault(f"is nested deeper than {MAX_DEPTH} levels")
        self.open.add(id(node))
        for name, child, word in self.children(node):
            kind = type(child)
            if kind is Tensor or kind is PickledArray or kind is Sparse:
                self.add(prefix, length, _spell(name), child, inherited or word)  # pyright: ignore
            elif kind in _CONTAINERS:
                text = _spell(name)
                self.spend(length + len(text))
                parts = (*prefix, *text.split("."))
                collection = inherited or word or _collection(text, child)
                self.enter(child, parts, length + len(text) + 1, collection)
        self.open.discard(id(node))

    def children(self, node: object) -> Iterable[tuple[object, object, str]]:
        """Yield name, record and declared collection of each item of a container."""
        declared = self.classes(node.of) if type(node) is Instance else None
        if type(node) is Instance:
            node = node.state if type(node.state) in _CONTAINERS else (node.state,)
        if type(node) is Instance:
            node = (node,)
        if not isinstance(node, dict | list | tuple):
            return
        self.spend(len(node))
        items = node.items() if isinstance(node, dict) else enumerate(node)
        if _is_packed_pair(node):
            items = zip(("weight", "bias"), node, strict=True)
        if declared is None:
            for name, child in items:
                if type(child) is Instance:
                    yield name, *_opened(child)
                else:
                    yield name, child, ""
            return
        # a module: its tensors are registered as parameters, as buffers, or not at all
        parameters, buffers = declared
        for name, child in items:
            if type(child) is Instance:
                yield name, child, ""
            elif name in parameters:
                yield name, child, "params"
            elif name in buffers:
                yield name, child, "buffers"

    def add(
        self,
        prefix: tuple[str, ...],
        length: int,
        name: str,
        tensor: Tensor | PickledArray | Sparse,
        collection: str,
    ) -> None:
        self.spend(STEPS_OF_TENSOR + length + len(name))
        if not collection:
            collection = _collection_of_tensor(name)
        key: Key = (*prefix, *name.split(".")) if prefix else name
        if prefix and key in self.taken:
            key = (*prefix, name)
        parts, word = {}, ""
        if type(tensor) is Tensor:
            self.put(key, TorchLeaf(key, tensor, collection))
            if not tensor.scales:
                return
            parts, word = tensor.scales, "quantization"
        elif type(tensor) is Sparse:
            self.put(key, TorchLeaf(key, tensor.values, collection, tensor))
            parts, word = tensor.indices, "buffers"
        elif isinstance(tensor, PickledArray) and tensor.dtype is not None:
            self.put(key, TorchLeaf(key, tensor, collection))
        for part, inner in parts.items():  # beside it: a tensor is not a container
            key = (*prefix, f"{name}.{part}")
            self.put(key, TorchLeaf(key, inner, word))

    def put(self, key: Key, leaf: TorchLeaf) -> None:
        if key in self.taken:
            raise self.fault(f"holds two tensors named {_shown(key)}")
        if len(self.leaves) >= self.most:
            raise self.fault(f"repeats its parts: it lists more than {self.most:,} tensors")
        self.taken.add(key)
        self.leaves.append(leaf)

    def spend(self, steps: int) -> None:
        """Count steps and characters: sharing can make a small file an endless tree."""
        self.steps -= 1 + steps
        if self.steps < 0:
            raise self.fault("repeats its parts far beyond its own length")


def _opened(node: object) -> tuple[object, str]:
    """Return a record, or what it holds where its class says what that is: with a collection."""
    collection = ""
    for _ in range(MAX_WRAPPERS):
        if type(node) is not Instance:
            break
        value, word = content_of(node)
        if not word and value is node.state:
            break
        node, collection = value, collection or word
    return node, collection


def _is_packed_pair(node: object) -> bool:
    """Return whether a tuple is the weight and bias of one of PyTorch's quantised layers."""
    if type(node) is not tuple or len(node) != 2:
        return False
    weight, bias = node
    is_weight = type(weight) is Tensor and weight.dtype.startswith(_QUANTIZED)
    return is_weight and (bias is None or type(bias) is Tensor)


def _without_scales(leaves: list[TorchLeaf]) -> list[TorchLeaf]:
    """Return the leaves with the `scale` and `zero_point` of quantised layers as their state.

    They are the scale of a layer's output: a pair of single numbers, in a checkpoint that has
    quantised weights.
    """
    formats = {tensor.dtype for _, tensor, _, _ in leaves if type(tensor) is Tensor}
    if not any(dtype.startswith(_QUANTIZED) for dtype in formats):
        return leaves
    names = {path_of(leaf.key) for leaf in leaves if prod(leaf.shape) == 1}
    pairs = {
        name[:-1]
        for name in names
        if name[-1:] == ("zero_point",) and (*name[:-1], "scale") in names
    }
    return [
        leaf._replace(collection="quantization")
        if path[:-1] in pairs and path[-1] in ("scale", "zero_point")
        else leaf
        for leaf, path in ((leaf, path_of(leaf.key)) for leaf in leaves)
    ]


_QUANTIZED = ("qint", "quint")
_CONTAINERS = (dict, list, tuple, Instance)


def _collection(name: str, node: object) -> str:
    """Return the collection of a container by its name in training loops, or ""."""
    lower = name.lower()
    if "optim" in lower or lower == "opt_state":
        return OPTIMIZER
    if isinstance(node, dict) and "param_groups" in node and "state" in node:
        return OPTIMIZER
    if EMA in lower.split("_"):  # model_ema, ema_state_dict, params_ema
        return EMA
    if "rng_state" in lower or "random_state" in lower:
        return "rng_state"
    if lower in _TRAINING_NAMES or any(word in lower for word in _TRAINING_WORDS):
        return TRAINING
    return ""


def collection_of_path(names: Sequence[str]) -> str:
    """Return the collection that a name on the path of a tensor decides, or "".

    >>> collection_of_path(["optimizer", "state", "exp_avg"]), collection_of_path(["model"])
    ('opt_state', '')
    """
    for name in names[:-1]:
        if word := _collection(name, None):
            return word
    return _collection_of_tensor(names[-1])


def _collection_of_tensor(name: str) -> str:
    if name.startswith(_EMA_STARTS):
        return EMA
    return "rng_state" if "rng_state" in name else ""


def _spell(name: object) -> str:
    """Return a dict's key as text."""
    if type(name) is str:
        return name
    if isinstance(name, tuple):
        return ",".join(map(_spell, name))
    if isinstance(name, Global | Instance):
        return name.name if isinstance(name, Global) else name.of
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def _shown(key: Key) -> str:
    return repr(printable(name_of(key), 80)) if key else "the checkpoint"
