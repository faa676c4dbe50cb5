"""What parameters do, as plain text: by role, by component, tensor by tensor."""

import textwrap

from explorer.analyses.role_report import RoleReport, RoleRow
from explorer.errors import printable
from explorer.views import units
from explorer.views.table import PLAIN, Column, Style, render_table

__all__ = ["roles_text"]

_MOST = 6  # names of a sort


def roles_text(report: RoleReport, width: int, style: Style = PLAIN) -> str:
    """Return a report: a sentence, roles, work by component, notes, and every tensor."""
    title = printable(f"{report.target}, called with {report.inputs}", width)
    parts = [
        f"{style.bold}{title}{style.reset}",
        f"{report.parameters:,} parameters = {report.weights:,} weights + "
        f"{report.biases:,} biases, by use",
        _roles(report, width, style),
        _work(report, width, style),
        *_notes(report, width),
        _tensors(report, width, style),
    ]
    return "\n\n".join(parts)


def _roles(report: RoleReport, width: int, style: Style) -> str:
    rows = [
        (
            total.role,
            units.count(total.tensors),
            units.count(total.parameters),
            units.share(total.parameters, report.parameters),
            units.count(_flops(report, total.macs)),
        )
        for total in report.roles
    ]
    tensors = units.count(sum(total.tensors for total in report.roles))
    owned = sum(total.macs for total in report.roles)
    whole = ("total", tensors, units.count(report.parameters), "100%")
    columns = (
        Column("role"),
        Column("tensors", "right"),
        Column("parameters", "right"),
        Column("share", "right"),
        Column(_unit(report), "right"),
    )
    total = (*whole, units.count(_flops(report, owned)))
    return render_table(columns, [*rows, total], width, style, total=True)


def _work(report: RoleReport, width: int, style: Style) -> str:
    rows = [
        (
            each.component,
            units.count(_flops(report, each.macs)),
            units.share(each.macs, report.macs),
        )
        for each in report.work
    ]
    columns = (Column("work"), Column(_unit(report), "right"), Column("share", "right"))
    total = ("total", units.count(_flops(report, report.macs)), "100%")
    return render_table(columns, [*rows, total], width, style, total=True)


def _unit(report: RoleReport) -> str:
    return "FLOPs/token" if report.tokens else "FLOPs/call"


def _flops(report: RoleReport, macs: int) -> int:
    """Return the FLOPs of multiply-adds: two each, and for one token where there are any."""
    return 2 * macs // (report.tokens or 1)


def _notes(report: RoleReport, width: int) -> list[str]:
    sentences = []
    if report.experts:
        more = f": {report.active:,} of {report.parameters:,}"
        sentences.append(report.experts + (more if "sparsely" in report.experts else ""))
    for names, what in (
        (report.unused, "reach no output"),
        (report.frozen, "get no gradient"),
        (report.tied, "are embeddings that project as well, or share an array"),
        (report.disagreements, "do other than their names say"),
    ):
        if names:
            shown = ", ".join(names[:_MOST])
            more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
            sentences.append(f"{len(names):,} {what}: {shown}{more}")
    if not sentences:
        return []
    lines = [
        line
        for sentence in sentences
        for line in textwrap.wrap(
            printable(sentence, 600),
            width,
            initial_indent="  - ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    ]
    return ["notes\n" + "\n".join(lines)]


def _tensors(report: RoleReport, width: int, style: Style) -> str:
    columns = (
        Column("name", elastic=True),
        Column("shape", rank=3),
        Column("by use"),
        Column("how", rank=1),
        Column("parameters", "right", rank=2),
        Column(_unit(report), "right", rank=1),
    )
    rows = [
        (
            row.path,
            units.shape(row.shape, row.stack),
            _job(row),
            ", ".join(row.uses),
            units.count(row.parameters),
            units.count(_flops(report, row.macs)),
        )
        for row in report.rows
    ]
    return render_table(columns, rows, width, style)


def _job(row: RoleRow) -> str:
    if not row.reached:
        return "unused"
    words = [row.role, *(["tied"] if row.tied else [])]
    return ", ".join([*words, *([] if row.differentiable else ["frozen"])])
