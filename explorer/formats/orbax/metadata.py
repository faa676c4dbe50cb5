"""The JSON that Orbax writes next to a tree's arrays: its leaves, PRNG keys, shardings.

None of it holds the shape of an array: `write_shape` is that of one device's shard.
"""

import base64
import binascii
import os
import re
from math import prod
from typing import Annotated, TypeVar

import msgspec

from explorer.errors import FormatError, printable
from explorer.formats.bounds import MAX_RANK
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["NamedSharding", "OrbaxTree", "read_key_formats", "read_shardings", "read_tree"]

_MAX_BYTES = 1_000_000_000
_MAX_DEVICES = 1 << 31
_KEY_METADATA = re.compile(rb'"key_metadata"\s*:')
_KEY_TAGS = {"threefry2x32": "fry", "rbg": "rbg", "unsafe_rbg": "urbg"}  # JAX's names


class OrbaxTree(msgspec.Struct, gc=False):
    """The leaves of a tree that are arrays, as paths, and how their arrays are stored.

    `numbers`: those leaves that are numbers of Python, stored in 64 bits.
    `is_complete`: Orbax was set to store chunks of zeros too, so that a chunk which is
    missing was lost.
    """

    leaves: list[tuple[str, ...]]
    numbers: frozenset[tuple[str, ...]] = frozenset()
    use_ocdbt: bool = False
    use_zarr3: bool = False
    is_complete: bool = False
    has_metadata: bool = True


class _KeyName(msgspec.Struct, gc=False):
    key: str


class _ValueMetadata(msgspec.Struct, gc=False):
    value_type: str
    skip_deserialize: bool = False  # None and empty containers


class _LeafEntry(msgspec.Struct, gc=False):
    key_metadata: tuple[_KeyName, ...]
    value_metadata: _ValueMetadata


class _TreeMetadata(msgspec.Struct):
    tree_metadata: msgspec.Raw
    use_ocdbt: bool | None = None
    use_zarr3: bool | None = None
    store_array_data_equal_to_fill_value: bool | None = None


class _ArrayMetadata(msgspec.Struct):
    param_name: str
    ext_metadata: dict[str, object] | None = None


class _ArrayEntry(msgspec.Struct):
    array_metadata: _ArrayMetadata


class _ArrayMetadatas(msgspec.Struct):
    array_metadatas: list[_ArrayEntry]


class NamedSharding(msgspec.Struct, frozen=True):
    """A saved jax.sharding.NamedSharding: the mesh, and the mesh axes of each array axis."""

    axis_names: tuple[str, ...] = ()
    shape: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] = ()
    partition_spec: tuple[str | tuple[str, ...] | None, ...] = ()
    sharding_type: str = ""

    @property
    def axes(self) -> str:
        """The sharding as text.

        >>> NamedSharding(("data", "model"), (4, 2), ("data", None)).axes
        "('data', None) on {data: 4, model: 2}"
        """
        mesh = zip(self.axis_names, self.shape, strict=True)
        return (
            f"{self.partition_spec} on {{{', '.join(f'{name}: {n}' for name, n in mesh)}}}"
        )

    def shard_size(self, shape: tuple[int, ...]) -> int:
        """Return the elements of the largest shard of an array of this shape.

        >>> NamedSharding(("data",), (8,), ("data", None)).shard_size((800, 64))
        6400
        """
        sizes = dict(zip(self.axis_names, self.shape, strict=True))
        shard = list(shape)
        for axis, over in enumerate(self.partition_spec[: len(shape)]):
            shard[axis] = -(-shard[axis] // prod(sizes[name] for name in _axis_names(over)))
        return prod(shard)


def _axis_names(over: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the mesh axes that one axis of an array is sharded over."""
    return over if isinstance(over, tuple) else (over,) if over else ()


_T = TypeVar("_T")


def _decode(path: str, raw: bytes | str | msgspec.Raw, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            path,
            found=f"is broken ({error})",
            expected=what,
            cure="copy the checkpoint again",
        ) from None


def read_tree(folder: str, store: Store = LOCAL) -> OrbaxTree | None:
    """Return the leaves that _METADATA lists; None where there is no _METADATA.

    Text, None and empty containers are leaves to Orbax and have no array.

    Raises:
        FormatError: it is not such JSON, or lists a leaf twice.
    """
    path = os.path.join(folder, "_METADATA")
    if not store.exists(path):
        return None
    metadata = _decode(
        path, store.read_whole(path, _MAX_BYTES), _TreeMetadata, "the JSON of an Orbax tree"
    )
    raw = metadata.tree_metadata
    entries = _decode(path, raw, dict[str, _LeafEntry], "the leaves of an Orbax tree")
    paths = [tuple([name.key for name in e.key_metadata]) for e in entries.values()]
    # a repeated key would vanish in the dict; its fields can still be counted in the text
    if len(_KEY_METADATA.findall(bytes(raw))) != len(entries) or len(set(paths)) < len(
        paths
    ):
        raise FormatError(
            path, found="lists a leaf twice", cure="copy the checkpoint again"
        )
    kept = [
        (leaf, entry.value_metadata.value_type)
        for leaf, entry in zip(paths, entries.values(), strict=True)
        if not entry.value_metadata.skip_deserialize
        and entry.value_metadata.value_type != "string"
    ]
    return OrbaxTree(
        [leaf for leaf, _ in kept],
        frozenset(leaf for leaf, kind in kept if kind == "scalar"),
        bool(metadata.use_ocdbt),
        bool(metadata.use_zarr3),
        bool(metadata.store_array_data_equal_to_fill_value),
    )


def read_key_formats(folder: str, store: Store = LOCAL) -> dict[str, str]:
    """Return the format ("key<fry>") of each array that holds the words of PRNG keys."""
    inner = os.path.join(folder, "array_metadatas")
    formats: dict[str, str] = {}
    for name in store.names(inner) if store.is_folder(inner) else ():
        path = os.path.join(inner, name)
        raw = store.read_whole(path, _MAX_BYTES)
        if b"random_key_impl" not in raw:
            continue
        for entry in _decode(path, raw, _ArrayMetadatas, "array metadata").array_metadatas:
            array = entry.array_metadata
            impl = (array.ext_metadata or {}).get("random_key_impl")
            if isinstance(impl, str):
                formats[array.param_name] = f"key<{_KEY_TAGS.get(impl, impl)}>"
    return formats


def read_shardings(folder: str, store: Store = LOCAL) -> dict[str, NamedSharding]:
    """Return the sharding of each array that was sharded over a mesh when it was saved.

    Raises:
        FormatError: _sharding is broken, or names an axis that its mesh does not have.
    """
    path = os.path.join(folder, "_sharding")
    if not store.exists(path):
        return {}
    saved = _decode(
        path, store.read_whole(path, _MAX_BYTES), dict[str, str], "shardings by array"
    )
    decoded = {text: _named(path, text) for text in set(saved.values())}
    named = {key: sharding for key, text in saved.items() if (sharding := decoded[text])}
    try:
        return {
            base64.b64decode(key, validate=True).decode(): s for key, s in named.items()
        }
    except (binascii.Error, ValueError):
        raise FormatError(path, found="has a name that is not base64 of UTF-8") from None


def _named(path: str, text: str) -> NamedSharding | None:
    sharding = _decode(path, text, NamedSharding, "the JSON of a sharding")
    if sharding.sharding_type != "NamedSharding":  # on one device
        return None
    names = [name for over in sharding.partition_spec for name in _axis_names(over)]
    is_named = len(sharding.axis_names) == len(sharding.shape) <= MAX_RANK
    # an axis of a mesh splits one axis of an array, so that the product is bounded
    if len(set(names)) < len(names) or max(sharding.shape, default=1) > _MAX_DEVICES:
        is_named = False
    if not is_named or not set(names) <= set(sharding.axis_names):
        raise FormatError(
            path,
            found=f"has the sharding {printable(text, 200)}",
            expected="a size for each of axis_names, and a partition_spec of these names",
        )
    return sharding
