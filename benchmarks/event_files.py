"""What a step of 2,592 watched scalars costs in TensorBoard's event files.

explorer's writer has tensorboardX encode one event a step and writes it at once. The peers
are tensorboardX's own writers: `add_scalar`, as its users call it, which makes an event of
every scalar, and its file writer with one event a step, which writes from a thread. Each
writes the same steps into a folder of its own, until all is on its way to the disk.

    python benchmarks/event_files.py [steps]
"""

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary
from timing import best_call, report

from explorer.training.logging.curves import StepRecord
from explorer.training.logging.events import EventWriter

STEPS = int(sys.argv[1]) if sys.argv[1:] else 10
ROWS = [f"layers_{layer}/{name}" for layer in range(36) for name in "abcdefgh"]
COLUMNS = [f"column_{number}" for number in range(9)]
TAGS = [f"{column}/{row}" for row in ROWS for column in COLUMNS]
VALUES = np.random.default_rng(0).normal(size=(len(ROWS), len(COLUMNS))).astype("f4")


def ours(folder: Path) -> None:
    """Write the steps with explorer's writer."""
    with EventWriter(folder, ROWS, COLUMNS) as writer:
        for step in range(STEPS):
            writer.write(StepRecord(step, {}, VALUES))


def one_event_a_scalar(folder: Path) -> None:
    """Write the steps with `SummaryWriter.add_scalar`."""
    writer = SummaryWriter(str(folder), write_to_disk=True)
    for step in range(STEPS):
        for tag, value in zip(TAGS, VALUES.ravel().tolist(), strict=True):
            writer.add_scalar(tag, value, step)
    writer.close()


def one_event_a_step(folder: Path) -> None:
    """Write the steps with the file writer below it, all scalars of a step in one event."""
    writer = SummaryWriter(str(folder), write_to_disk=True)
    for step in range(STEPS):
        pairs = zip(TAGS, VALUES.ravel().tolist(), strict=True)
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in pairs]
        writer.file_writer.add_summary(Summary(value=values), step)  # pyright: ignore
    writer.close()


def time_of(write: Callable[[Path], None]) -> float:
    """Return the best time of a step in seconds."""
    folder = Path(tempfile.mkdtemp())
    try:
        return best_call(partial(write, folder), 5) / STEPS
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    assert len(TAGS) == 2592
    print(f"{platform.machine()}, Python {platform.python_version()}, {STEPS} steps")
    mine = time_of(ours)
    theirs = time_of(one_event_a_scalar)
    report("2,592 scalars, a step", mine, "SummaryWriter.add_scalar", theirs, goal="5x")
    theirs = time_of(one_event_a_step)
    report("the same", mine, "tensorboardX FileWriter", theirs, goal="at most 3x its time")
