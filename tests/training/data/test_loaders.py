"""Loaders of other libraries: their position is kept, and their buffers are their own."""

import json
import math
import random
import sys
import types
import warnings
from collections import UserDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.errors import InputError
from explorer.models.small import MultilayerPerceptron
from explorer.training import Arrays, Batches, Checkpoints, Trainer, fit
from explorer.training.data.loaders import as_arrays, go_to, position_of
from explorer.training.data.positions import from_json, to_json
from tests.training import tiny

MODULE = MultilayerPerceptron((8, 3))
X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.tanh(X[:, :3])


class Reused(Iterator[Any]):
    """A loader that fills the same memory again, as many do, and has no position."""

    def __init__(self) -> None:
        self.at, self.x, self.y = (
            0,
            np.empty((4, 4), "float32"),
            np.empty((4, 3), "float32"),
        )

    def __next__(self) -> Any:
        rows = slice(4 * (self.at % 3), 4 * (self.at % 3) + 4)
        self.x[:], self.y[:] = X[rows], Y[rows]
        self.at += 1
        return self.x, self.y


class Positioned(Reused):
    """One whose position is a dict, as of torchdata."""

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def losses_of(batches: Any, folder: Path, ends: tuple[int, ...]) -> list[float]:
    losses = []
    for end in ends:
        trainer = Trainer(MODULE, tiny.squares(MODULE), optax.adam(1e-2))
        state, source = trainer.init(tiny.KEY, X[:1]), batches()
        with Checkpoints(folder, every=3) as checkpoints:
            there = position_of(source) is not None
            saved = checkpoints.restore(state, batches=source if there else None)
            history = trainer.history(state)
            state = saved.state if saved else state
            fit(trainer, state, source, steps=end, checkpoints=checkpoints, history=history)
        losses += [record.metrics["loss"] for record in history.records]
    return losses


def test_memory_that_is_filled_again_is_copied_first(tmp_path: Path):
    own = lambda: Batches(Arrays((X, Y)), 4, shuffle=False)  # noqa: E731
    wanted = losses_of(own, tmp_path / "own", (9,))
    with pytest.warns(UserWarning, match="Reused has neither state"):
        assert losses_of(Reused, tmp_path / "reused", (9,)) == wanted


class Loader:
    """One that gives an iterator, and knows itself where that is, as of torchdata."""

    def __init__(self) -> None:
        self.inner = Positioned()

    def __iter__(self) -> Reused:
        self.plain = Reused()
        self.plain.at = self.inner.at
        return self.plain

    def state_dict(self) -> dict[str, int]:
        return {"at": self.plain.at if hasattr(self, "plain") else 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.inner.load_state_dict(state)


@pytest.mark.parametrize("loader", [Positioned, Loader])
def test_a_position_is_saved_and_gone_back_to(loader: Any, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = losses_of(loader, tmp_path / "whole", (7,))
        parts = losses_of(loader, tmp_path / "parts", (2, 5, 7))
    assert parts == whole


def test_without_checkpoints_nothing_is_warned_of():
    trainer = Trainer(MODULE, tiny.squares(MODULE), optax.adam(1e-2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(trainer, trainer.init(tiny.KEY, X[:1]), Reused(), steps=2)


def test_positions_that_cannot_be_kept():
    class Odd(Positioned):
        def state_dict(self) -> Any:
            return {"at": object()}

    with pytest.raises(
        InputError, match=r"batches: state_dict\(\) returned .*; expected what JSON"
    ):
        position_of(Odd())
    with pytest.raises(
        InputError, match="batches: Reused has no position; expected an iterator"
    ):
        go_to(Reused(), {"at": 3})
    with pytest.raises(InputError, match="batches: no position was saved"):
        go_to(Positioned(), None)


def test_a_chosen_step_is_restored_and_no_other(tmp_path: Path):
    trainer = Trainer(MODULE, tiny.squares(MODULE), optax.adam(1e-2))
    state = trainer.init(tiny.KEY, X[:1])
    batches = Batches(Arrays((X, Y)), 4)
    with Checkpoints(tmp_path, every=2, keep=9) as checkpoints:
        fit(trainer, state, batches, steps=6, checkpoints=checkpoints)
    with Checkpoints(tmp_path) as checkpoints:
        like = trainer.init(tiny.KEY, X[:1])
        saved = checkpoints.restore(like, step=4)
        assert saved is not None
        assert (saved.step, int(saved.state.step)) == (4, 4)
        with pytest.raises(
            InputError, match="has no checkpoint of step 5; expected one of 2, 4, 6"
        ):
            checkpoints.restore(like, step=5)
        with pytest.raises(InputError, match="holds steps up to 6, the state is at 4"):
            checkpoints.save(saved.state)


class Deep:
    """One whose position is as deep as torchdata's: a generator's state below its sampler."""

    def __init__(self):
        self.state = {
            "sampler": {"yielded": np.int64(8), "generator": np.arange(9, dtype=np.uint8)},
            "seed": 3166459102582292373,
            "workers": [None, {"key": b"\x00\xff"}],
            "empty": {},
        }

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state


def test_positions_with_arrays_and_bytes_in_them_go_through_json():
    deep = Deep()
    go_to(deep, json.loads(json.dumps(position_of(deep))))
    loaded, state = deep.loaded, deep.state
    generator = loaded["sampler"].pop("generator")
    np.testing.assert_array_equal(generator, state["sampler"].pop("generator"))
    assert (generator.dtype, generator.flags.writeable) == (np.uint8, True)
    assert loaded == state


class Named(NamedTuple):
    """A tuple that is not as a plain one is."""

    at: int


@pytest.mark.parametrize(
    "position",
    [
        (1, (2, [3, ()]), {"of": (b"",)}),
        {0: {"epoch": 1}, (1, 2): 3, None: 4, True: 5},
        [math.inf, -math.inf, 0.1, -0.0, 2**80, None, True, "text", {}],
        {"base64": "text"},
        {"tuple": [1]},
        {"items": {"items": {"scalar": {"float": "inf"}}}},
        {"base64": 1, "dtype": 2, "shape": 3, "torch": 4},
        random.Random(3).getstate(),
        np.random.default_rng(3).bit_generator.state,
        {"of": (np.float32(0.1), np.bool_(True), np.int64(-(2**63)))},
    ],
)
def test_a_position_is_the_same_after_json(position: Any):
    found = from_json(json.loads(json.dumps(to_json(position), allow_nan=False)))
    assert repr(found) == repr(position)  # as 1, 1.0 and True are equal


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i2").reshape(2, 3)[:, ::2],
        np.zeros((0, 4), bool),
        np.asarray(jnp.linspace(-1, 1, 5, dtype=jnp.bfloat16)),
        np.asarray(jnp.linspace(-1, 1, 5, dtype=jnp.float8_e4m3fn)),
        np.random.RandomState(3).get_state()[1],
    ],
)
def test_arrays_of_a_position_are_the_same_after_json(array: np.ndarray):
    found = from_json(json.loads(json.dumps(to_json({"at": array}))))["at"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "position",
    [
        Named(3),
        {1, 2},
        np.array([None]),
        np.zeros(1, [("a", "i4")]),
        jax.random.key(0),
        print,
    ],
)
def test_a_position_that_would_come_back_as_something_else_is_refused(position: Any):
    with pytest.raises((TypeError, ValueError)):
        to_json([position])


def test_mappings_that_jax_does_not_know_are_dicts():
    class Encoding(UserDict[str, Any]):
        """As of transformers' tokenizers."""

    given = np.arange(3)
    (found,) = as_arrays(iter([Encoding(input_ids=given)]))
    assert type(found) is dict
    np.testing.assert_array_equal(found["input_ids"], given)
    assert not np.shares_memory(found["input_ids"], given)


def test_lists_of_numbers_are_arrays():
    """As Hugging Face's datasets give them, where no format is set."""
    given = {"x": [[1.0, 2.0], [3.0, 4.0]], "y": [1, 0], "several": [jnp.ones(2), 1.0]}
    (found,) = as_arrays(iter([given]))
    assert found["x"].tolist() == [[1, 2], [3, 4]]
    assert (found["x"].dtype, found["y"].dtype) == (np.float64, np.int64)
    assert found["several"][1] == 1.0, "a tree, not an array"
    with pytest.raises(InputError, match=r"unequal lengths; .* pad them in the loader"):
        next(as_arrays(iter([{"x": [[1.0, 2.0], [3.0]]}])))


def test_arrays_of_any_kind_and_order_of_bytes_are_those_of_this_machine():
    class Other:
        """As a tensor of TensorFlow: not an array, and convertible to one."""

        dtype, shape = "float32", (3,)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.arange(3, dtype=np.float32)

    given = {"x": Other(), "y": np.arange(3, dtype=">f4"), "z": np.arange(3, dtype=">i8")}
    (found,) = as_arrays(iter([given]))
    for leaf in found.values():
        assert leaf.dtype.isnative
        assert jnp.asarray(leaf).tolist() == [0, 1, 2]


def test_a_dataset_is_refused_where_its_iterator_has_the_position():
    with pytest.raises(InputError, match=r"has no position; .* pass iter"):
        go_to([1, 2], {"at": 3})


def test_tensors_of_torch_become_arrays(monkeypatch: pytest.MonkeyPatch):
    class Tensor:
        """As much of a tensor as is asked for."""

        def __init__(self, array: np.ndarray):
            self.array = array

        dtype, layout, device = "torch.float64", "torch.strided", "cpu"

        def detach(self) -> "Tensor":
            return self

        cpu = resolve_neg = detach

        def numpy(self) -> np.ndarray:
            return self.array

    torch: Any = types.ModuleType("torch")
    torch.Tensor = Tensor
    monkeypatch.setitem(sys.modules, "torch", torch)
    given = np.arange(3.0)
    (found,) = as_arrays(iter([{"x": Tensor(given), "y": [1, jnp.ones(2)]}]))
    np.testing.assert_array_equal(found["x"], given)
    assert found["x"] is not given
    assert not np.shares_memory(found["x"], given)
    assert isinstance(found["y"][1], jax.Array)
