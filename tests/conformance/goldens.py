"""The stored outputs: one small file per case, read and written here only."""

import json
from pathlib import Path

import numpy as np

from tests.conformance.cases import Case, tokens_of

__all__ = ["comparable", "difference", "read", "write"]

_FOLDER = Path(__file__).parents[1] / "data" / "goldens"
_LIST = "tensors"

Outputs = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]


def write(name: str, outputs: Outputs, shapes: Shapes) -> None:
    """Write a case's outputs, floats in float32, and its tensors' names and shapes."""
    listing = json.dumps(dict(sorted(shapes.items())), separators=(",", ":"))
    arrays: Outputs = {_LIST: np.frombuffer(listing.encode(), np.uint8)}
    for key, array in outputs.items():
        arrays[key] = array.astype(np.float32) if array.dtype.kind == "f" else array
    with (_FOLDER / f"{name}.npz").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read(name: str) -> tuple[Outputs, Shapes]:
    """Return a case's outputs, and the shapes of its tensors by published name."""
    with np.load(_FOLDER / f"{name}.npz", allow_pickle=False) as file:
        outputs = dict(file)
    listing = json.loads(outputs.pop(_LIST).tobytes())
    return outputs, {key: tuple(shape) for key, shape in listing.items()}


def comparable(case: Case, outputs: Outputs) -> Outputs:
    """Return outputs with zeros at padding and each token's experts in order."""
    tokens = tokens_of(case)
    if tokens is None:
        return outputs
    outputs = dict(outputs)
    if "experts" in outputs:
        outputs["experts"] = np.sort(outputs["experts"]).astype(np.int8)
    for name in {"logits", "hidden", "experts"} & outputs.keys():
        outputs[name] = np.where(tokens[..., None], outputs[name], 0)
    return outputs


def difference(found: np.ndarray, golden: np.ndarray) -> float:
    """Return the largest difference relative to the largest golden value.

    >>> difference(np.array([1.0, 4.5]), np.array([1.0, 5.0]))
    0.1
    """
    if found.shape != golden.shape:
        return float("inf")
    gap = np.abs(found.astype(np.float64) - golden.astype(np.float64)).max()
    return float(gap / np.abs(golden).max()) if gap == gap else float("inf")
