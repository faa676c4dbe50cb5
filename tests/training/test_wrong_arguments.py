"""Arguments of the wrong kind, donated states and paths that none can be: one line each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import explorer as ex
from explorer import testing
from explorer.errors import ExplorerError
from explorer.pretrained import config_of
from explorer.recipes import settings_of
from explorer.training import (
    Arrays,
    Batches,
    Checkpoints,
    EventWriter,
    Freezing,
    History,
    JsonlWriter,
    LineProgress,
    Trainer,
    TrainState,
    Watch,
    create_state,
    fit,
    library_text,
    make_mesh,
    map_tokens,
    names_of_bad,
    place_batch,
    read_jsonl,
    shardings_of,
)  # fmt: skip
from tests.surfacing import raised_inside
from tests.training import tiny

OPTIMIZER = optax.sgd(0.5)
X = jnp.linspace(-1, 1, 8)[:, None]
BATCH = (X, 2 * X + 1)
TRAINER = Trainer(tiny.LINE, tiny.squares(tiny.LINE), OPTIMIZER)
ON_MESH = Trainer(tiny.LINE, tiny.squares(tiny.LINE), OPTIMIZER, mesh=make_mesh())
WATCHED = Trainer(tiny.LINE, tiny.squares(tiny.LINE), OPTIMIZER, watch=Watch(every=1))


def first_state() -> TrainState:
    return TRAINER.init(jax.random.key(0), X)


def donated() -> TrainState:
    state = first_state()
    TRAINER.step(state, BATCH)
    return state


def batches() -> Batches:
    return Batches(Arrays(tuple(map(np.asarray, BATCH))), 8)


def fitted(state: Any = None, data: Any = None, **options: Any) -> Any:
    state = first_state() if state is None else state
    return fit(TRAINER, state, data or batches(), steps=2, **options)


def saved(state: Any) -> None:
    with Checkpoints("saved") as checkpoints:
        checkpoints.save(state)


def restored(like: Any) -> Any:
    with Checkpoints("saved") as checkpoints:
        return checkpoints.restore(like)


STATES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "an int": lambda: 3,
    "a str": lambda: "state",
    "a class": lambda: TrainState,
    "a list": lambda: ["state"],
    "a donated state": donated,
    "an inventory": lambda: ex.explore({"a": np.ones(2)}),
}
TAKE_STATES: dict[str, Callable[[Any], Any]] = {
    "step": lambda v: TRAINER.step(v, BATCH),
    "step on a mesh": lambda v: ON_MESH.step(v, BATCH),
    "step.lower": lambda v: TRAINER.step.lower(v, BATCH),
    "eval_step": lambda v: TRAINER.eval_step(v, BATCH),
    "batch of a step": lambda v: TRAINER.step(first_state(), v),
    "history": lambda v: WATCHED.history(v),
    "save": saved,
    "restore": restored,
    "fit": lambda v: fit(TRAINER, v, batches(), steps=2),
    "fit(trainer)": lambda v: fit(v, first_state(), batches(), steps=2),
    "fit(batches)": lambda v: fit(TRAINER, first_state(), v, steps=2),
    "fit(checkpoints=)": lambda v: fitted(checkpoints=v),
    "fit(history=)": lambda v: fitted(history=v),
    "fit(progress=)": lambda v: fitted(progress=v),
    "fit(evaluate=)": lambda v: fitted(evaluate=v),
    "fit(eval_every=)": lambda v: fitted(eval_every=v),
    "create_state": lambda v: create_state(tiny.LINE, OPTIMIZER, jax.random.key(0), v),
    "place_batch": lambda v: place_batch(v, make_mesh()),
    "shardings_of": lambda v: shardings_of(v, make_mesh()),
    "Arrays": Arrays,
    "Watch.init": lambda v: Watch(every=1, distance=True).init(v),
    "Watch.rows": lambda v: Watch(every=1).rows(v),
    "Freezing.labels": lambda v: Freezing("**/b*").labels(v),
    "names_of_bad": lambda v: names_of_bad(v, [0]),
    "append": lambda v: History().append(v, {}),
    "append metrics": lambda v: History().append(1, v),
    "metric": lambda v: History().metric(v),
    "table": lambda v: History().table(v),
    "table(glob=)": lambda v: History().table(glob=v),
    "table(width=)": lambda v: History().table(width=v),
    "History": History,
    "History(writers=)": lambda v: History(writers=v),
    "rewind": lambda v: History().rewind(v),
    "LineProgress": LineProgress,
    "make_mesh": make_mesh,
    "make_mesh(devices=)": lambda v: make_mesh(devices=v),
    "library_text": library_text,
    "library_text(array)": lambda v: library_text(np.zeros(3)),
    "settings_of": settings_of,
    "changes": lambda v: settings_of("linear", v),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TAKE_STATES)
def test_states_of_the_wrong_kind(name: str, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    assert raised_inside(TAKE_STATES[name], STATES) == []


class OfBytes:
    """A path that is not text."""

    def __fspath__(self) -> bytes:
        return b"x.jsonl"


PATHS: dict[str, Any] = {
    "bytes": b"model.npz", "a path of bytes": OfBytes(), "an int": 3, "a null": "a\0b",
    "bytes and a null": b"a\0b", "a list": ["a"], "too long": "a" * 5000, "a class": Path,
    "no name": "",
}  # fmt: skip


def history() -> History:
    filled = History(run="digits")
    filled.append(1, {"loss": 2.5})
    return filled


TAKE_PATHS: dict[str, Callable[[Any], Any]] = {
    "explore": ex.explore,
    "load": ex.load,
    "load_pretrained": ex.load_pretrained,
    "report_roles": ex.report_roles,
    "build_model": ex.build_model,
    "config_of": config_of,
    "assert_matches_lock": lambda p: testing.assert_matches_lock({"a": 1.0}, p),
    "Checkpoints": Checkpoints,
    "JsonlWriter": JsonlWriter,
    "EventWriter": EventWriter,
    "to_jsonl": lambda p: history().to_jsonl(p),
    "to_tensorboard": lambda p: history().to_tensorboard(p),
    "plot": lambda p: history().plot(p),
    "read_jsonl": read_jsonl,
    "map_tokens": map_tokens,
    "library_text": lambda p: library_text(9, p),
}


@pytest.mark.parametrize("name", TAKE_PATHS)
def test_paths_that_are_none(name: str, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    for word, value in PATHS.items():
        with pytest.raises(ExplorerError) as caught:
            TAKE_PATHS[name](value)
        assert "\n" not in str(caught.value), word
    assert list(tmp_path.iterdir()) == []


REUSED = (
    "was donated to a step, which has reused its memory; expected the newest state; use what "
    "the step or fit returned, or Trainer(donate=False) to keep each"
)
SAID = {
    "step of None": (
        lambda: TRAINER.step(None, BATCH),  # pyright: ignore[reportArgumentType]
        "the state: is None; expected what Trainer.init or a step returned",
    ),
    "step of a donated state": (
        lambda: TRAINER.step(donated(), BATCH),
        f"the state: {REUSED}",
    ),
    "eval of a donated state": (
        lambda: TRAINER.eval_step(donated(), BATCH),
        f"the state: {REUSED}",
    ),
    "on a mesh": (
        lambda: [ON_MESH.step(s, BATCH) for s in [ON_MESH.init(jax.random.key(0), X)] * 2],
        f"the state: {REUSED}",
    ),
    "saved": (lambda: saved(donated()), f"the state: {REUSED}"),
    "texts": (
        lambda: TRAINER.step(first_state(), (X, {"y": np.array(["a"])})),
        "the batch/1/y: is an array of <U1; expected an array of numbers",
    ),
    "bytes": (
        lambda: read_jsonl(b"h.jsonl"),  # pyright: ignore[reportArgumentType]
        "path: is bytes; expected a str or a pathlib.Path",
    ),
    "a null": (
        lambda: Checkpoints("a\0b"),
        "folder: holds a null character; expected a folder of the run",
    ),
    "width": (lambda: History().table(width=3), "width: 3; expected 60 or more"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_taken_is_said(case: str, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    act, message = SAID[case]
    with pytest.raises(ExplorerError) as caught:
        act()
    assert str(caught.value) == message
