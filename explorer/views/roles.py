"""A report of roles as a document: by role, by component, tensor by tensor."""

from explorer.document.records import Block, Column, Document, Notes, Paragraph, Table
from explorer.roles.report import RoleReport
from explorer.views import units
from explorer.views.roles_tree import roles_tree

__all__ = ["roles_document"]

_MOST = 6  # names in a note


def roles_document(report: RoleReport) -> Document:
    """Return a sentence, totals by role, work by component, notes, and every tensor."""
    sentence = Paragraph(
        f"{units.count(report.parameters, 'parameter')} = "
        f"{units.count(report.weights, 'weight')} + "
        f"{units.count(report.biases, 'bias', 'biases')}, by use"
    )
    notes = Notes(tuple(_notes(report)))
    blocks: list[Block] = [sentence, _roles(report), _work(report)]
    blocks += [notes] if notes.items else []
    tree = roles_tree(report, _unit(report), lambda macs: _flops(report, macs))
    title = f"{report.target}, called with {report.inputs}"
    return Document(title, (*blocks, tree))


def _roles(report: RoleReport) -> Table:
    shares = units.shares([total.parameters for total in report.roles])
    rows = [
        (
            total.role,
            total.tensors,
            total.parameters,
            share,
            _flops(report, total.macs),
        )
        for total, share in zip(report.roles, shares, strict=True)
    ]
    last = (
        "total",
        sum(total.tensors for total in report.roles),
        report.parameters,
        "100%",
        _flops(report, sum(total.macs for total in report.roles)),
    )
    # equal layers are one leaf of the module that is called
    counted = "stacked leaves" if any(row.stack for row in report.rows) else "tensors"
    columns = (
        Column("role"),
        Column(counted, "right"),
        Column("parameters", "right"),
        Column("share", "right"),
        Column(_unit(report), "right"),
    )
    whole = report.parameters
    bars = tuple(each.parameters / whole for each in report.roles) if whole else ()
    return Table(columns, [*rows, last], total=True, bars=bars, parts=True)


def _work(report: RoleReport) -> Table:
    shares = units.shares([each.macs for each in report.work])
    rows = [
        (each.component, _flops(report, each.macs), share)
        for each, share in zip(report.work, shares, strict=True)
    ]
    columns = (
        Column("work", hued=True),
        Column(_unit(report), "right"),
        Column("share", "right"),
    )
    last = ("total", _flops(report, report.macs), "100%")
    bars = tuple(each.macs / report.macs for each in report.work) if report.macs else ()
    return Table(columns, [*rows, last], total=True, bars=bars, parts=True)


def _unit(report: RoleReport) -> str:
    return "FLOPs/token" if report.tokens else "FLOPs/call"


def _flops(report: RoleReport, macs: int) -> int:
    """Return the FLOPs of multiply-adds: two each; for one token, where there are tokens."""
    return 2 * macs // (report.tokens or 1)


def _notes(report: RoleReport) -> list[str]:
    sentences = []
    if report.experts:
        more = f": {report.active:,} of {report.parameters:,}"
        sentences.append(report.experts + (more if "sparsely" in report.experts else ""))
    disagreements = tuple(map(str, report.disagreements))
    for names, one, several in (
        (report.unused, "reaches no output", "reach no output"),
        (report.frozen, "gets no gradient", "get no gradient"),
        (
            report.tied,
            "is an embedding that also projects, or shares an array",
            "are embeddings that also project, or share an array",
        ),
        (
            disagreements,
            "has a role that its name does not suggest",
            "have a role that their names do not suggest",
        ),
    ):
        if names:
            what = one if len(names) == 1 else several
            more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
            sentences.append(
                f"{units.count(len(names), 'tensor')} {what}: {', '.join(names[:_MOST])}{more}"
            )
    return sentences
