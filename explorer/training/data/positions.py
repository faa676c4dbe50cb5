"""Positions in data as JSON holds them: tuples, bytes, arrays and tensors among them too."""

import base64
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["from_json", "is_tensor", "to_json"]

# each a dict of one key in JSON, but an array, which has four
_BYTES, _TUPLE, _ITEMS, _FLOAT, _SCALAR = "base64", "tuple", "items", "float", "scalar"
_ARRAY = (_BYTES, "dtype", "shape", "torch")
_INTEGERS = {2: np.int16, 4: np.int32, 8: np.int64}  # of a tensor's bits, by bytes


def to_json(position: Any) -> Any:
    """Return a position in what JSON holds.

    Raises:
        TypeError, ValueError: it holds something else.

    >>> to_json({"step": 3, "key": b"7"})
    {'step': 3, 'key': {'base64': 'Nw=='}}
    >>> to_json((1, {2: float("inf")}))
    {'tuple': [1, {'items': [[2, {'float': 'inf'}]]}]}
    """
    found = _encoded(position)
    json.dumps(found, allow_nan=False)
    return found


def from_json(found: Any) -> Any:
    """Return the position that `to_json` was given.

    Numbers of NumPy are so again; arrays of JAX are NumPy's.

    >>> from_json({"step": 3, "key": {"base64": "Nw=="}})
    {'step': 3, 'key': b'7'}
    >>> from_json({"tuple": [1, {"items": [[2, {"float": "inf"}]]}]})
    (1, {2: inf})
    """
    if isinstance(found, list):
        return [from_json(each) for each in found]
    if not isinstance(found, dict):
        return found
    if found.keys() == {*_ARRAY}:
        return _array(found)
    if len(found) == 1:
        ((name, content),) = found.items()
        if name in _READERS:
            return _READERS[name](content)
    return {name: from_json(each) for name, each in found.items()}


def is_tensor(leaf: Any) -> bool:
    """Return whether this is a tensor of torch, which is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(leaf, torch.Tensor)


def _array(found: Mapping[str, Any]) -> Any:
    raw = bytearray(base64.b64decode(found[_BYTES]))
    torch: Any = sys.modules.get("torch")  # of the loader that the position is for
    # as JAX's, which has names that NumPy alone does not know, such as bfloat16
    dtype, shape = jnp.dtype(found["dtype"]), found["shape"]
    if not found["torch"] or torch is None:
        return np.frombuffer(raw, dtype).reshape(shape)
    if dtype != jnp.bfloat16:
        return torch.from_numpy(np.frombuffer(raw, dtype).reshape(shape))
    bits = np.frombuffer(raw, _INTEGERS[dtype.itemsize]).reshape(shape)
    return torch.from_numpy(bits).view(torch.bfloat16)


# what a dict of one such key stands for
_READERS: dict[str, Callable[[Any], Any]] = {
    _BYTES: base64.b64decode,
    _TUPLE: lambda content: tuple(map(from_json, content)),
    _ITEMS: lambda content: {from_json(key): from_json(each) for key, each in content},
    _FLOAT: float,
    _SCALAR: lambda content: _array(content)[()],
}


def _encoded(position: Any) -> Any:
    if isinstance(position, dict):
        return _encoded_dict(position)
    if isinstance(position, list):
        return [_encoded(each) for each in position]
    if type(position) is tuple:  # one with names would lose them
        return {_TUPLE: [_encoded(each) for each in position]}
    if isinstance(position, bytes):
        return {_BYTES: base64.b64encode(position).decode()}
    if isinstance(position, np.generic):
        return {_SCALAR: _encoded_array(np.asarray(position))}
    if isinstance(position, float) and not math.isfinite(position):
        return {_FLOAT: str(position)}
    if is_tensor(position):
        return _encoded_array(_bits(position), position)
    if isinstance(position, np.ndarray | jax.Array):
        return _encoded_array(np.asarray(position))
    if isinstance(position, tuple):
        raise TypeError(f"a tuple of {type(position).__name__}")
    return position


def _encoded_dict(position: dict[Any, Any]) -> dict[str, Any]:
    """Return a dict by its names, or its items where names are not all, or would be misread."""
    misread = position.keys() == {*_ARRAY} or (
        len(position) == 1 and next(iter(position)) in _READERS
    )
    if misread or not all(isinstance(name, str) for name in position):
        items = [[_encoded(key), _encoded(each)] for key, each in position.items()]
        return {_ITEMS: items}
    return {name: _encoded(each) for name, each in position.items()}


def _bits(tensor: Any) -> np.ndarray:
    """Return a tensor of torch as NumPy has it, with the bits of what NumPy has not."""
    torch: Any = sys.modules["torch"]
    dense = tensor.detach().cpu()
    if dense.dtype != torch.bfloat16:
        return dense.numpy()
    return dense.view(torch.int16).numpy().view(jnp.bfloat16)


def _encoded_array(array: np.ndarray, tensor: Any = None) -> dict[str, Any]:
    if array.dtype.hasobject or array.dtype.names:
        raise TypeError(f"an array of {array.dtype}")
    content = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    # what ml_dtypes adds to NumPy has a name, and no other text that is its own
    is_added = array.dtype.kind == "V"
    dtype = array.dtype.name if is_added else array.dtype.str
    described = (content, dtype, list(array.shape), tensor is not None)
    return dict(zip(_ARRAY, described, strict=True))
