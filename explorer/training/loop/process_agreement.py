"""Processes that train one state stop, and look at its metrics, at the same step.

A signal may reach one of them alone, and their clocks differ; but one that left its loop a
step before the others would leave them waiting in a collective for ever. So what a process
finds by itself is asked of all of them between two steps, once a window, and holds from
where all have the answer. It is read a window later, when the devices have long found it.
"""

import signal
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

__all__ = ["ProcessAgreement"]


class ProcessAgreement:
    """How long a window is and what there is to stop for, on all processes of a state.

    With one process, these are what it finds, and at once.

    Args:
        state: what is trained; its processes are those on whose devices it is placed.
        received: names of signals, as `stop_signals` yields them.
        has_failed: says whether a save is known to have failed, asked once a window; None
            where nothing is saved.

    Attributes:
        size: calls of a window.
        save_failed: whether a save is known to have failed, on any process.
    """

    def __init__(
        self, state: Any, received: list[str], has_failed: Callable[[], bool] | None
    ):
        self.size, self.save_failed = 1, False
        self._received, self._has_failed = received, has_failed
        self._known: list[str] = received
        self._answer: jax.Array | None = None
        self._ask = None
        if jax.process_count() > 1:
            devices = _devices_of(state)
            if len({device.process_index for device in devices}) > 1:
                self._known, self._ask = [], _maxima_over(devices)

    @property
    def signal(self) -> str:
        """The name of the signal to stop at; empty while there is none."""
        return self._known[0] if self._known else ""

    def turn(self, fitting: int) -> None:
        """End a window, which all processes do after the same call.

        Args:
            fitting: how long this process finds that the next should be.
        """
        failed = self._has_failed is not None and self._has_failed()
        if self._ask is None:
            self.size, self.save_failed = fitting, failed
            return
        if self._answer is not None:
            number, any_failed, self.size = np.asarray(self._answer).tolist()
            self.save_failed = bool(any_failed)
            self._known += [signal.Signals(number).name] if number else []
        number = signal.Signals[self._received[0]] if self._received else 0
        self._answer = self._ask(number, failed, fitting)


def _devices_of(state: Any) -> list[Any]:
    arrays = (leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array))
    found = {device for array in arrays for device in array.sharding.device_set}
    return sorted(found, key=lambda device: device.id)


def _maxima_over(devices: list[Any]) -> Callable[..., jax.Array]:
    """Return a function of numbers that finds the largest that a process gives of each."""
    mesh = Mesh(np.array(devices), ("devices",))
    split = NamedSharding(mesh, PartitionSpec("devices"))
    whole = NamedSharding(mesh, PartitionSpec())
    largest = jax.jit(lambda rows: rows.max(axis=0), out_shardings=whole)

    def ask(*numbers: int) -> jax.Array:
        row = np.array([numbers], np.int32)
        shape = (len(devices), len(numbers))
        return largest(jax.make_array_from_callback(shape, split, lambda _: row))

    return ask
