"""Headers of 100,000 tensors opened in the terminal browser: time, memory, and rows made.

Beside `explorer show` of the same file: what reading the header and folding the whole tree takes.
"""

import json
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

from timing import best_call, report

import explorer as ex
from explorer.analyses.collapse import collapse, compact
from explorer.browsing.cells import row_pieces
from explorer.browsing.search import find
from explorer.browsing.session import BrowsingSession
from explorer.browsing.subject import BrowsedTarget, browsed

TENSORS, SCREEN = 100_000, 40


def experts() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of equal experts, which fold."""
    for number in range(TENSORS):
        layer, rest = divmod(number, 768)
        part = ("gate_proj", "up_proj", "down_proj")[rest % 3]
        yield f"model.layers.{layer}.mlp.experts.{rest // 3}.{part}.weight", (4, 2)


def unequal() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield tensors of a hundred in a block, of which none fold."""
    for number in range(TENSORS):
        shape = 1 + number % 97, 1 + 7 * number % 13
        yield f"block_{number // 100}.part_{number % 100}.weight", shape


def written(path: Path, tensors: Iterator[tuple[str, tuple[int, ...]]]) -> str:
    """Write a safetensors file whose data is one hole."""
    header, at = {}, 0
    for name, shape in tensors:
        end = at + 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    raw = json.dumps(header, separators=(",", ":")).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + at)
    return str(path)


def first_screen(subject: BrowsedTarget) -> BrowsingSession:
    """Make what the first screen shows."""
    session = BrowsingSession([subject])
    for path in session.rows[:SCREEN]:
        row_pieces(session.outline, session.view, path, 100)
    return session


def memory_of(call: Callable[[], object]) -> float:
    """Return the megabytes that a call takes at its peak."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    for what, tensors in (
        ("equal experts", experts),
        ("tensors that do not fold", unequal),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = written(Path(folder) / "model.safetensors", tensors())
            report(
                f"100,000 {what}: read, and the first screen",
                best_call(lambda path=path: first_screen(browsed(path))),
                "read, and every row of the folded tree",
                best_call(lambda path=path: compact(collapse(ex.explore(path)))),
                goal="none",
            )
            subject = browsed(path)
            session = first_screen(subject)
            print(f"  rows made: {session.outline.made:,} of {len(session.rows):,} shown")
            print(
                f"  memory beside the inventory: {memory_of(lambda s=subject: first_screen(s)):.0f} MB"
            )
            for text in ("up_proj", "part_99"):
                start = time.perf_counter()
                found = find(session.outline, session.view, text)
                took = time.perf_counter() - start
                print(f"  search of {text!r}: {found.tensors:,} tensors in {took:.2f} s")


if __name__ == "__main__":
    main()
