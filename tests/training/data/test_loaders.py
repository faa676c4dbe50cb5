"""Loaders of other libraries: their position is kept, and their buffers are their own."""

import json
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.errors import InputError
from explorer.models.small import MultilayerPerceptron
from explorer.training import Arrays, Batches, Checkpoints, Trainer, fit
from explorer.training.data.loaders import as_arrays, go_to, position_of
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
