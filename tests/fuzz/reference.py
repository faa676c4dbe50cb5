"""What reference readers say of files; runs in their environment, where there is no explorer.

    python tests/fuzz/reference.py safetensors < PATHS > ANSWERS

Each line of the input is a path; each line of the output is JSON: the shapes of the tensors
that were read, sorted, or the first line of the error. A reader that crashes ends the process;
the one who started it goes on behind the last line.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Shapes = list[list[int]]
_SECONDS, _MEMORY = 1, 8_000_000_000


def _numpy(path: str) -> Shapes:
    import numpy as np

    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return [list(found.shape)]
    with found:
        return [list(found[name].shape) for name in found.files]


def _gguf(path: str) -> Shapes:
    import gguf

    return [[int(n) for n in reversed(t.shape)] for t in gguf.GGUFReader(path).tensors]


def _safetensors(path: str) -> Shapes:
    import safetensors

    tensors = safetensors.deserialize(Path(path).read_bytes())
    return [list(tensor["shape"]) for _, tensor in tensors]


def _torch(path: str) -> Shapes:
    import torch

    return [list(t.shape) for t in _tensors(torch.load(path, "cpu", weights_only=True))]


def _tensors(thing: Any) -> Iterator[Any]:
    import torch

    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from _tensors(value)
    elif isinstance(thing, list | tuple | set):
        for value in thing:
            yield from _tensors(value)


READERS: dict[str, Callable[[str], Shapes]] = {
    "gguf": _gguf,
    "npy": _numpy,
    "npz": _numpy,
    "safetensors": _safetensors,
    "state dict": _torch,
    "legacy": _torch,
}


def answer(
    read: Callable[[str], Shapes], path: str, seconds: int = _SECONDS
) -> dict[str, Any]:
    """Return the shapes, or the error; a second is all that a reader has."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return {"shapes": sorted(read(path))}
    except BaseException as error:  # a panic of a library in Rust is none of Exception
        line = " ".join(str(error).split())
        line = (
            line[:120] if len(line) < 240 else f"... {line[-160:]}"
        )  # PyTorch begins with advice
        return {"error": f"{type(error).__name__}: {line}"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _late(*_: object) -> None:
    raise TimeoutError("no answer in a second")


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _late)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    read = READERS[sys.argv[1]]
    answer(read, os.devnull, seconds=60)  # imports the library
    for given in sys.stdin:
        print(json.dumps(answer(read, given.strip())), flush=True)
