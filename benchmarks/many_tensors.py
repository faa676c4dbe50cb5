"""100,000 small tensors of distinct nested names that do not fold: shown, reported, browsed.

Whole processes against modelinfo-cli; calls in one process against reading the same header with
`safetensors.safe_open`, and against clu's table of the same tree, made of arrays in memory.
"""

import tempfile
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import numpy as np
from browse import first_screen, written
from clu import parameter_overview
from safetensors import safe_open
from timing import best, best_call, peak_memory, report, script

import explorer as ex
from explorer.browsing.subject import browsed
from explorer.tree.nest import nest

STAGES, BLOCKS, MODULES = 10, 100, 100
TENSORS = STAGES * BLOCKS * MODULES


def tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield names of four levels, each module's another, with the shapes of small tensors."""
    for number in range(TENSORS):
        block, stage = number // MODULES, number // MODULES // BLOCKS
        name = f"{word(stage)}.{word(block)}.{word(number)}.weight"
        yield name, (1 + number % 7, 1 + number % 11)


def word(number: int) -> str:
    """Return a name without digits for a number, and without a word that says anything."""
    return "part_" + "".join("bdfgjkxz"[number >> shift & 7] for shift in range(15, -1, -3))


PARAMETERS = sum(prod(shape) for _, shape in tensors())


def read_header(path: Path) -> dict[str, tuple]:
    """Return shape and dtype of each tensor, by the reference's reader."""
    with safe_open(path, "np") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: (part.get_shape(), part.get_dtype()) for name, part in parts.items()}


def clu_table() -> float:
    """Return how long clu takes for its table of the same tree, whose arrays are in memory."""
    tree = nest(
        {tuple(name.split(".")): np.zeros(shape, np.float32) for name, shape in tensors()}
    )
    assert parameter_overview.count_parameters(tree) == PARAMETERS
    return best_call(
        lambda: parameter_overview.get_parameter_overview(tree, include_stats=False)
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        written(path, tensors())
        assert ex.explore(path).num_parameters == PARAMETERS
        assert len(read_header(path)) == ex.explore(path).num_tensors == TENSORS
        explorer, modelinfo = script("explorer"), script("modelinfo")
        report(
            "100,000 tensors that do not fold, explorer show, whole process",
            best([explorer, "show", path], 5),
            "modelinfo, which prints totals and the largest",
            best([modelinfo, path], 5),
            goal="none",
        )
        table, header = clu_table(), best_call(lambda: read_header(path), 5)
        calls: dict[str, Callable[[], object]] = {
            "the same, the complete tree as text": lambda: str(ex.explore(path)),
            "the same, the report": lambda: ex.report(path, values=False),
            "the same, the first screen of explorer browse": lambda: first_screen(
                browsed(str(path))
            ),
        }
        for what, call in calls.items():
            ours = best_call(call)
            report(what, ours, "clu's table of the tree in memory", table, goal="none")
            report(what, ours, "safe_open, get_slice of each", header, goal="none")
        page = len(ex.report(path, values=False).encode())
        print(f"  size of the report: {page / 1000:.0f} kB")
        print(f"  peak memory of explorer show: {peak_memory([explorer, 'show', path])} MB")


if __name__ == "__main__":
    main()
