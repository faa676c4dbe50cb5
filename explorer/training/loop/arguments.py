"""The arguments of `fit`, checked before anything is done with them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorer.errors import InputError, TreeError, check_type, shown
from explorer.training.watch.watch import Watch
from explorer.tree.arrays import check_not_donated
from explorer.tree.nesting import check_tree

__all__ = [
    "check_calls",
    "check_counts",
    "check_parts",
    "check_state",
    "copied",
    "iterator_of",
    "parts_of",
]

_REAL = ("bool", "integral", "real floating")


def check_counts(**counts: Any) -> None:
    """Refuse an argument that is not a whole number, or below 0.

    Raises:
        InputError: its name is the place.
    """
    for name, count in counts.items():
        if not isinstance(count, int | np.integer) or count < 0:
            found = _shown(count)
            raise InputError(name, found=found, expected="a whole number, 0 or more")


def check_state(state: Any) -> None:
    """Refuse a state that no step can be taken from; wait until it is there.

    Raises:
        InputError: a step took over its memory, or it is halted.
    """
    if not hasattr(state, "halted") or isinstance(state, type):
        check_type("the state", state, (), "what Trainer.init or a step returned")
    check_tree(state)
    check_not_donated("the state", state)
    # one that memory did not do for says so here; to read from it would be to wait for ever
    jax.block_until_ready(state)
    if state.halted:
        raise InputError(
            "the state",
            found=f"is halted: after step {int(state.step):,} there was no finite one",
            expected="one that steps can be taken from",
            cure="go on with state.replace(halted=jnp.array(False)), or a checkpoint",
        )


def parts_of(trainer: Any) -> tuple[Any, Watch | None]:
    """Return the step of a trainer, and the watch inside it.

    Raises:
        TreeError: it is not a trainer, or its watch is something else, as a number of steps.
    """
    step, watch = getattr(trainer, "step", None), getattr(trainer, "watch", None)
    if not callable(step):
        found = _shown(trainer)
        cure = "fit(trainer, state, batches, steps=...)"
        raise TreeError("trainer", found=found, expected="a Trainer", cure=cure)
    if watch is not None and not isinstance(watch, Watch):
        found = shown(watch, 60)
        raise TreeError("watch", found=found, expected="the Watch of the step, or None")
    return step, watch


def check_parts(checkpoints: Any, history: Any, progress: Any, evaluate: Any) -> None:
    """Refuse what cannot save, record, show or evaluate; None does nothing.

    Raises:
        TreeError: it names the argument.
    """
    for place, given, method, expected in (
        ("checkpoints", checkpoints, "check_continues", "a Checkpoints, or None"),
        ("history", history, "records", "a History, or None"),
        ("progress", progress, "report", "a LineProgress or another Progress, or None"),
        ("evaluate", evaluate, "__call__", "a function of a state, or None"),
    ):
        if given is not None and (isinstance(given, type) or not hasattr(given, method)):
            check_type(place, given, (), expected)


def check_calls(trainer: Any, batches: Any) -> None:
    """Refuse batches that are not as many to a call as the trainer takes steps.

    Raises:
        InputError: both say how many, and not the same.
    """
    taken = getattr(trainer, "steps_per_call", None)
    given = getattr(batches, "steps_per_call", None)
    if taken is not None and given is not None and taken != given:
        raise InputError(
            "steps_per_call",
            found=f"{taken} of the trainer, {given} of the batches",
            expected="the same of both",
            cure=f"pass Batches(..., steps_per_call={taken})",
        )


def iterator_of(batches: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator over batches.

    Raises:
        TreeError: they cannot be iterated over, or are one batch by its names.
    """
    is_pair = isinstance(batches, tuple) and any(hasattr(each, "dtype") for each in batches)
    if isinstance(batches, Mapping) or is_pair:
        gives = "arrays" if is_pair else "names"
        found = f"one {type(batches).__name__}, which gives its {gives}"
        cure = "pass [batch], or an iterator of batches"
        raise TreeError("batches", found=found, expected="an iterable of them", cure=cure)
    try:
        return iter(batches)
    except TypeError:
        found = f"a {type(batches).__name__}"
        raise TreeError("batches", found=found, expected="an iterable of them") from None


def copied(evaluation: Any) -> Mapping[str, jax.Array | np.ndarray]:
    """Return what `evaluate` returned, in arrays of its own.

    The next step may take over what is a part of the state.

    Raises:
        InputError: it is not a dict of numbers.
    """
    if not isinstance(evaluation, Mapping):
        raise InputError(
            "evaluate",
            found=f"returned a {type(evaluation).__name__}",
            expected="a dict of numbers by name",
            cure='return {"loss": loss}',
        )
    return {name: _number(name, value) for name, value in evaluation.items()}


def _shown(value: Any) -> str:
    try:
        return shown(value, 60)
    except Exception:  # of what cannot be shown, such as arrays that were donated
        return f"a {type(value).__name__}"


def _number(name: Any, value: Any) -> jax.Array | np.ndarray:
    found = shown(value, 60)
    try:
        # what the host has stays there
        array = jnp.array(value) if isinstance(value, jax.Array) else np.array(value)
        if array.dtype.kind not in "OSU":
            found = f"{array.dtype} of shape {array.shape}"
        if not array.ndim and jnp.isdtype(array.dtype, _REAL):
            return array
    except (TypeError, ValueError):  # of no kind that arrays are made of
        pass
    place = f"evaluate[{shown(name, 60)}]"
    raise InputError(place, found=found, expected="a number")
