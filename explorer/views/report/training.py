"""The grid of training as data for the sliders, and its first point in words."""

import shlex
from typing import Any

from explorer.sizing.training_grid import TrainingGrid
from explorer.views import units
from explorer.views.report.memory import TermPool, options_of, term_rows

__all__ = ["first_training_point", "training_data", "training_need_of"]


def training_data(grid: TrainingGrid) -> dict[str, Any]:
    """Return a grid as lists of places in "terms", where each different one is once."""
    pool = TermPool()
    precisions = [
        {"label": each.label, "words": options_of(each.settings), "tables": each.tables}
        for each in grid.precisions
    ]
    fixed = [
        [
            [[[pool.of(term) for term in terms] for terms in row] for row in rows]
            for rows in table
        ]
        for table in grid.fixed
    ]
    tables = [
        [
            [[[pool.of(term) for term in point.terms] for point in row] for row in rows]
            for rows in table
        ]
        for table in grid.tables
    ]
    return {
        "precisions": precisions,
        "optimizers": grid.optimizers,
        "remats": grid.remats,
        "fsdp": grid.fsdp,
        "tensor": grid.tensor,
        "data": grid.data,
        "contexts": grid.contexts,
        "batches": grid.batches,
        "fixed": fixed,
        "several": pool.of(grid.of_several),
        "tables": tables,
        "first": {"context": first_training_point(grid)[-2], "batch": 0},
        **pool.data(),
    }


def first_training_point(
    grid: TrainingGrid,
) -> tuple[int, int, int, int, int, int, int, int]:
    """Return where the sliders are at first: what `plan --train` gives unasked."""
    context = 0 if grid.context is None else grid.contexts.index(grid.context)
    return 0, 0, 0, 0, 0, 0, context, 0


def training_need_of(grid: TrainingGrid, target: str) -> dict[str, Any]:
    """Return the first point in words, for readers without a script."""
    terms = grid.terms(*first_training_point(grid))
    total = sum(term.bytes for term in terms)
    context = "" if grid.context is None else f" --context {grid.context}"
    return {
        "total": units.size(total),
        "terms": term_rows(terms),
        "command": f"explorer plan {shlex.quote(target)} --train{context}",
    }
