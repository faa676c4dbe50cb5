"""Every argument of every public function, replaced in turn by values of the wrong kind.

A value may be wrong and still mean something: then there is a result. What is raised is
explorer's own, in one line; an AttributeError, KeyError or TypeError of the inside is a fault.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import explorer as ex
from explorer import testing, training
from tests.arguments.right_calls import NOT_CALLED, RIGHT, files
from tests.surfacing import raised_inside


class Named:
    """A path whose name is bytes."""

    def __fspath__(self) -> bytes:
        return b"a.npz"


def escaped() -> dict[str, Any]:
    """A tree that holds a tracer of a trace that has ended."""
    kept: list[Any] = []
    jax.make_jaxpr(lambda x: kept.append(x) or x)(1.0)
    return {"dense": {"kernel": kept[0]}}


def deleted() -> dict[str, Any]:
    """A tree whose arrays a step was donated."""
    arrays = {"kernel": jnp.ones((8, 4)), "bias": jnp.ones(4)}
    for array in arrays.values():
        array.delete()
    return {"dense": arrays}


WRONG = {
    "None": lambda: None,
    "bytes": lambda: b"a.npz",
    "an int": lambda: 3,
    "less than zero": lambda: -1,
    "a number above int64": lambda: 1 << 70,
    "NaN": lambda: float("nan"),
    "a str": lambda: "no-such-thing",
    "a null character": lambda: "a\0b",
    "an object": lambda: object(),
    "a list of a list": lambda: [["a"]],
    "[...]": lambda: [...],
    "an empty dict": dict,
    "a dict of numbers": lambda: {1: 2, "a": None},
    "an Ellipsis": lambda: ...,
    "a class": lambda: nn.Dense,
    "a type": lambda: int,
    "a module": lambda: np,
    "a function": lambda: lambda *_, **__: None,
    "a path of bytes": Named,
    "an array of objects": lambda: np.array([None, "a"], object),
    "an array of texts": lambda: np.array(["a", "b"]),
    "a tracer that escaped": escaped,
    "deleted arrays": deleted,
}


def public() -> set[str]:
    """The names that RIGHT should call: functions, and classes that people make."""
    rooms = {"": ex, "testing.": testing, "training.": training}
    found = {
        f"{room}{name}"
        for room, module in rooms.items()
        for name in module.__all__
        if callable(getattr(module, name))
        and (room or not isinstance(getattr(module, name), type))
    }
    return found - NOT_CALLED


def test_every_public_function_is_here():
    assert public() - RIGHT.keys() == set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arguments")
    files(path)
    return path


@pytest.fixture
def new_names(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Make the folder of the files the current one; what a call wrote there is deleted."""
    import shutil

    monkeypatch.chdir(folder)
    before = {entry.name for entry in folder.iterdir()}
    yield
    for entry in folder.iterdir():
        if entry.name not in before:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_call(name: str, new_names: None):
    function, arguments = RIGHT[name]
    function(**arguments())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RIGHT)
def test_one_wrong_argument(name: str, new_names: None):
    function, arguments = RIGHT[name]
    raw = {}
    for argument in arguments():

        def call(value: Any, argument: str = argument) -> Any:
            return function(**{**arguments(), argument: value})

        if found := raised_inside(call, WRONG):
            raw[argument] = found
    assert raw == {}
