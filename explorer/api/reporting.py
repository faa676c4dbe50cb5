"""One target or two as an HTML file that needs no network."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from explorer.arguments import check_kinds
from explorer.errors import InputError, check_path

if TYPE_CHECKING:
    from explorer.sizing.subject import Subject
    from explorer.views.report.records import Flops, ReportedModel

__all__ = ["report"]

_MOST_READ = 1_000_000_000  # bytes of values that are described unasked
_CONTEXTS = (1, 4096, 131_072)
_NO_FILE = "choose another name, or move it away"


def report(
    target: Any,
    other: Any = None,
    *,
    path: str | os.PathLike | None = None,
    values: bool | None = None,
    roles: bool = False,
) -> str:
    """Return one HTML file about a target, or about two and how they differ.

    It holds the map of the parameters, every figure with how it is known, the tree, the
    memory that it needs at every point of a grid, and statistics of its values. It is at
    most 500 kB, asks for nothing from any network, and no name in it is markup.

    Args:
        target: as for `explore`.
        other: a second one, compared with the first.
        path: where to write it as well; nothing may be there.
        values: whether the numbers are read and described; None for yes where the target
            holds them and they are at most 1 GB.
        roles: whether the model is traced, for roles by use and work by component; this
            takes seconds, and JAX.

    Raises:
        InputError: as `explore`; also a path that is taken or cannot be written, and values
            or roles that were asked for and cannot be had.
        MissingPackageError: jinja2 is not installed.

    >>> page = report("gpt2")
    >>> page.startswith("<!doctype html>"), "124,439,808 parameters" in page, len(page) < 500_000
    (True, True, True)
    """
    import explorer
    from explorer.analyses.comparison import compare
    from explorer.views.report.page import html_of_report
    from explorer.views.report.records import ModelReport

    check_kinds(
        ("values", values, "True or False or None"), ("roles", roles, "True or False")
    )
    if path is not None:
        check_path("path", path, "the name of a file")
        _check_free(path)
    targets = [target] if other is None else [target, other]
    models = tuple(_reported(each, values, roles) for each in targets)
    compared = None
    if other is not None:
        compared = compare(models[0].inventory, models[1].inventory)
    record = ModelReport(models=models, comparison=compared, version=explorer.__version__)
    page = html_of_report(record)
    if path is not None:
        _write(path, page)
    return page


def _reported(target: Any, values: bool | None, roles: bool) -> "ReportedModel":
    from explorer.api.models import report_roles
    from explorer.api.plans import subject_of
    from explorer.sizing.grid import grid_of
    from explorer.sizing.training_grid import training_grid_of
    from explorer.views.report.records import ReportedModel

    subject = subject_of(target, ())
    grid, no_grid, training = None, "", None
    try:
        grid = grid_of(subject)
    except InputError as error:
        no_grid = f"Nothing can be planned of it: {error}"
    with suppress(InputError):  # weights that have no gradients: no sliders of training
        training = training_grid_of(subject)
    described, no_values = _described(target, subject, values)
    return ReportedModel(
        inventory=subject.inventory,
        grid=grid,
        no_grid=no_grid,
        training=training,
        described=described,
        no_values=no_values,
        roles=report_roles(target) if roles else None,
        flops=_flops(subject),
    )


def _described(target: Any, subject: "Subject", values: bool | None) -> tuple[Any, str]:
    """Return statistics, or why there are none."""
    inventory = subject.inventory
    if values is False:
        return None, "They were not asked for."
    if values is None:
        if inventory.is_declared or not inventory.num_tensors:
            return None, "There are no numbers: this is an architecture, not a checkpoint."
        if inventory.nbytes > _MOST_READ:
            size = f"{inventory.nbytes / 1e9:,.1f} GB"
            return None, f"{size} were not read: explorer report --values reads them."
    from explorer.api.values import describe

    try:
        return describe(target), ""
    except InputError as error:
        if values:
            raise
        return None, f"They cannot be read: {error}"


def _flops(subject: "Subject") -> "Flops | None":
    """Return the operations of one token at a few contexts; None where nothing says them, or
    where it does not read tokens."""
    from explorer.analyses.active import multiplied_once, multiplied_parameters
    from explorer.sizing.cache.configs import model_of
    from explorer.sizing.speed.formulas import forward_flops
    from explorer.sizing.work import attention_width
    from explorer.views.report.records import Flops

    multiplied, architecture = (
        multiplied_parameters(subject.inventory),
        subject.architecture,
    )
    if multiplied is None or architecture is None or architecture.embed is None:
        return None
    width = attention_width(architecture)
    positions = getattr(model_of(subject), "positions", None) or _CONTEXTS[-1]
    contexts = sorted({*(min(each, positions) for each in _CONTEXTS)})
    flops = {each: forward_flops(multiplied, width, each) for each in contexts}
    return Flops(multiplied, flops, multiplied_once(subject.inventory))


def _check_free(path: str | os.PathLike) -> None:
    if os.path.lexists(path):
        raise InputError(
            path, found="is there already", expected="a free name", cure=_NO_FILE
        )


def _write(path: str | os.PathLike, page: str) -> None:
    from explorer.storage.writing import publish

    try:
        publish(path, page.encode())
    except FileExistsError:
        _check_free(path)
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        raise InputError(path, found=found, cure="choose another folder") from None
