"""Two processes find what one finds."""

import json
import socket

import jax
import numpy as np

from explorer.training.state import create_state
from explorer.training.step import make_train_step
from tests.training import in_processes, tiny
from tests.training.devices import start


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_two_processes_find_what_one_finds():
    port = free_port()
    both = [start("in_processes", port, number, devices=2) for number in (0, 1)]
    try:
        first, second = [process.communicate(timeout=120) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], first[1] + second[1]
    found = json.loads(first[0].splitlines()[-1])
    assert found["devices"] == 4
    optimizer = in_processes.OPTIMIZER
    state = create_state(tiny.NETWORK, optimizer, tiny.KEY, tiny.points(1)[0])
    step = make_train_step(tiny.squares(tiny.NETWORK), optimizer)
    losses = []
    for batch in tiny.batches(3, count=16):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(found["losses"], losses, rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(state.params), found["params"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
