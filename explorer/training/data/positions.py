"""Positions in data as JSON holds them: bytes, arrays and tensors among them too."""

import base64
import json
import sys
from typing import Any

import numpy as np

__all__ = ["from_json", "is_tensor", "to_json"]

_BYTES = "base64"  # what bytes are called in JSON
_ARRAY = (_BYTES, "dtype", "shape", "torch")  # and the elements of an array


def to_json(position: Any) -> Any:
    """Return a position in what JSON holds.

    Raises:
        TypeError, ValueError: it holds something else.

    >>> to_json({"step": 3, "key": b"7"})
    {'step': 3, 'key': {'base64': 'Nw=='}}
    """
    found = _encoded(position)
    json.dumps(found)
    return found


def from_json(found: Any) -> Any:
    """Return the position that `to_json` was given; tuples are lists.

    >>> from_json({"step": 3, "key": {"base64": "Nw=="}})
    {'step': 3, 'key': b'7'}
    """
    if isinstance(found, list):
        return [from_json(each) for each in found]
    if not isinstance(found, dict):
        return found
    if list(found) == [_BYTES]:
        return base64.b64decode(found[_BYTES])
    if found.keys() != {*_ARRAY}:
        return {name: from_json(each) for name, each in found.items()}
    raw = bytearray(base64.b64decode(found[_BYTES]))
    array = np.frombuffer(raw, found["dtype"]).reshape(found["shape"])
    torch = sys.modules.get("torch")  # of the loader that the position is for
    return torch.from_numpy(array) if found["torch"] and torch is not None else array


def is_tensor(leaf: Any) -> bool:
    """Return whether this is a tensor of torch, which is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(leaf, torch.Tensor)


def _encoded(position: Any) -> Any:
    if isinstance(position, dict):
        return {name: _encoded(each) for name, each in position.items()}
    if isinstance(position, list | tuple):
        return [_encoded(each) for each in position]
    if isinstance(position, bytes):
        return {_BYTES: base64.b64encode(position).decode()}
    if isinstance(position, np.generic):
        return position.item()
    of_torch = is_tensor(position)
    if not of_torch and not isinstance(position, np.ndarray):
        return position
    tensor: Any = position
    array = tensor.detach().cpu().numpy() if of_torch else position
    if array.dtype.hasobject:
        raise TypeError("an array of objects")
    content = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    described = (content, array.dtype.str, list(array.shape), of_torch)
    return dict(zip(_ARRAY, described, strict=True))
