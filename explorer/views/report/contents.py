"""The record of a report -> what its template shows: tables, tiles, and data for the script."""

import shlex
from typing import Any

from explorer.analyses.collapse import Row, collapse
from explorer.analyses.comparison import Comparison
from explorer.analyses.ledger import Ledger, ledger_of
from explorer.document.palette import COLOURS
from explorer.document.records import Block, Column, Paragraph, Table
from explorer.document.words import counted
from explorer.errors import printable
from explorer.views import units
from explorer.views.comparison import comparison_table
from explorer.views.counts import counts_document
from explorer.views.ledger import ledger_document
from explorer.views.report.memory import device_data, grid_data, need_of
from explorer.views.report.nodes import map_of
from explorer.views.report.records import Flops, ModelReport, ReportedModel
from explorer.views.report.training import training_data, training_need_of
from explorer.views.side_by_side import side_by_side_blocks
from explorer.views.tree import tree_table

__all__ = ["contents_of"]


def contents_of(report: ModelReport, nodes: int, rows: int, name: int) -> dict[str, Any]:
    """Return the variables of the template.

    Args:
        report: what is known.
        nodes: of the map of each model, at most.
        rows: of each table, at most.
        name: characters of a name in the map.
    """
    ledgers = [ledger_of(model.inventory) for model in report.models]
    roots = [collapse(model.inventory) for model in report.models]
    models = [
        _model(number, model, ledgers[number], roots[number], rows)
        for number, model in enumerate(report.models)
    ]
    names = [model["name"] for model in models]
    compared = report.comparison
    return {
        "title": " and ".join(printable(each, 200) for each in names),
        "models": models,
        "comparison": compared and _differences(report, compared, rows),
        "counts": counts_document(ledgers) if compared else None,
        "devices": device_data(),
        "made_by": f"explorer {report.version}: explorer report {_targets(report)}",
        "data": {
            "models": [
                _data(model, map_of(root, nodes, name))
                for model, root in zip(report.models, roots, strict=True)
            ],
            "devices": device_data(),
            "colours": {word: colour.code for word, colour in COLOURS.items()},
        },
    }


def _differences(report: ModelReport, compared: Comparison, most: int) -> list[Block]:
    """Return the trees side by side where they differ, as `explorer compare` has them, and
    below them what changed."""
    first, second = (model.inventory for model in report.models)
    changes = comparison_table(compared).blocks
    if compared.identical:
        return _cut_blocks(changes, most)
    a, b = (printable(each.target or each.source, 200) for each in (first, second))
    trees = side_by_side_blocks(compared.modules)
    return _cut_blocks((Paragraph(f"A: {a}, B: {b}"), *trees, *changes), most)


def _targets(report: ModelReport) -> str:
    return " ".join(
        shlex.quote(model.inventory.target or "TARGET") for model in report.models
    )


def _model(
    number: int, model: ReportedModel, ledger: Ledger, root: Row, most: int
) -> dict[str, Any]:
    document = ledger_document(ledger)
    headline, *blocks = document.blocks
    assert isinstance(headline, Paragraph)
    tree = tree_table(model.inventory, root=root)
    cut = _cut(tree, most)
    statistics = None
    if model.described is not None:
        from explorer.views.report.statistics import statistics_of

        statistics = statistics_of(model.described, most)
    name, size = ledger.target or ledger.source, ledger.file_bytes
    return {
        "number": number,
        "name": name,
        "source": ledger.source if size is None else f"{ledger.source}, {units.size(size)}",
        "headline": headline.text,
        "tiles": _tiles(ledger),
        "ledger": blocks,
        "tree": cut,
        "rows_left_out": len(tree.rows) - len(cut.rows),
        "grid": model.grid,
        "no_grid": model.no_grid,
        "need": model.grid and need_of(model.grid, name),
        "training": model.training,
        "training_need": model.training and training_need_of(model.training, name),
        "statistics": statistics,
        "no_values": model.no_values,
        "work": _work(model, most),
    }


def _tiles(ledger: Ledger) -> list[tuple[str, str, str]]:
    """Return the figures that are asked for first, each with how it is known."""
    known = ledger.provenance
    tensors, holding = known["tensors"], ledger.parameter_tensors
    if holding != ledger.tensors:
        tensors += f"; {holding:,} hold{'s' * (holding == 1)} parameters"
    tiles = [
        ("parameters", f"{ledger.parameters:,}", known["parameters"]),
        ("tensors", f"{ledger.tensors:,}", tensors),
        ("weights", f"{ledger.weights:,}", known["weights"]),
        ("biases", f"{ledger.biases:,}", known["biases"]),
        ("bytes", units.size(ledger.nbytes), known["nbytes"]),
    ]
    if "4" in ledger.bytes_at and ledger.parameters:
        size = units.size(ledger.bytes_at["4"])
        tiles.append(("at 4 bits", size, "parameters alone, without scales"))
    return tiles


def _data(model: ReportedModel, drawn: dict[str, Any]) -> dict[str, Any]:
    return {
        "target": shlex.quote(printable(model.inventory.target or "TARGET", 200)),
        "map": drawn,
        "grid": None if model.grid is None else grid_data(model.grid),
        "training": None if model.training is None else training_data(model.training),
    }


def _work(model: ReportedModel, most: int) -> list[Block]:
    blocks: list[Block] = []
    if model.roles is not None:
        from explorer.views.roles import roles_document

        blocks += _cut_blocks(roles_document(model.roles).blocks, most)
    if model.flops is not None:
        blocks += _flops(model.flops)
    return blocks


def _flops(flops: Flops) -> list[Block]:
    """Return the operations of one token at several contexts."""
    sentence = (
        f"One token multiplies {flops.parameters:,} parameters: 2 operations each, and 4 for "
        "each element of its attention to the tokens before it."
    )
    if flops.once:
        sentence += f" {flops.once:,} more multiply one vector of a text, which is not counted here."
    columns = (Column("context"), Column("FLOPs for one token", "right"))
    rows = [
        (counted(context, "token"), number) for context, number in flops.by_context.items()
    ]
    return [Paragraph(sentence), Table(columns, rows)]


def _cut_blocks(blocks: tuple[Block, ...], most: int) -> list[Block]:
    """Return blocks whose tables have at most so many rows, and say how many there are."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Table) and len(block.rows) > most:
            more = len(block.rows) - most
            found += [_cut(block, most), Paragraph(f"{more:,} more rows are not shown.")]
        else:
            found.append(block)
    return found


def _cut(table: Table, most: int) -> Table:
    """Return the first rows of a table, and its total."""
    if len(table.rows) <= most:
        return table
    last = [table.rows[-1]] if table.total else []
    rows = [*table.rows[: most - len(last)], *last]
    return Table(table.columns, rows, table.total, table.bars[: len(rows)])
