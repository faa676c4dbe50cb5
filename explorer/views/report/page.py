"""The record of a report -> one HTML file, in which no text from data is markup."""

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from explorer.document.palette import colour_of
from explorer.document.records import shown
from explorer.errors import MissingPackageError, printable
from explorer.storage.local import read_whole
from explorer.views.report.contents import contents_of
from explorer.views.report.records import ModelReport

try:
    from jinja2 import DictLoader, Environment, StrictUndefined, Template
    from markupsafe import Markup
except ImportError:
    raise MissingPackageError(
        "report",
        found="needs jinja2, which is not installed",
        cure="pip install -e '.[report]' in the repository",
    ) from None

__all__ = ["MOST_BYTES", "Limits", "html_of_report"]

MOST_BYTES = 500_000
_HERE = Path(__file__).parent / "templates"
_SCRIPTS = ("map.js", "memory.js", "training.js")
_LARGEST = 1 << 20  # bytes of a template
_LONGEST_TEXT = 2000
_DEEPEST = 8  # levels that are indented


class Limits(NamedTuple):
    """What one target may take: nodes of the map, rows of a table, characters of a name."""

    nodes: int = 1200
    rows: int = 400
    name: int = 120


def html_of_report(report: ModelReport) -> str:
    """Return a report as one file of at most `MOST_BYTES`, which asks for nothing elsewhere.

    Where the tensors are many and do not fold, the largest are shown, and how many are not.
    """
    style, script = _text("report.css"), "".join(map(_text, _SCRIPTS))
    limits = Limits()
    while True:
        page = _template().render(
            **contents_of(report, *limits),
            style=style,
            style_hash=_hash(style),
            script=script,
            script_hash=_hash(script),
        )
        if len(page.encode()) <= MOST_BYTES or limits.nodes < 10:
            return page
        limits = Limits(limits.nodes // 2, limits.rows // 2, max(limits.name // 2, 24))


@cache
def _template() -> Template:
    environment = Environment(
        loader=DictLoader({"report.html": _text("report.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "separators": (",", ":"),
        "ensure_ascii": False,
    }
    filters: dict[str, Callable[..., Any]] = {
        "shown": shown,
        "level": _level,
        "hue": lambda word: found.code if (found := colour_of(word)) else "",
        "kind": lambda block: type(block).__name__,
    }
    environment.filters.update(filters)
    return environment.get_template("report.html")


def _finalized(value: Any) -> Any:
    """Show control characters, line ends and bidirectional marks of a text as escapes."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value, _LONGEST_TEXT)


def _level(text: str) -> int:
    """Return how deep a name of the tree is: two spaces stand before it for each level."""
    return min((len(text) - len(text.lstrip(" "))) // 2, _DEEPEST)


def _text(name: str) -> str:
    return read_whole(str(_HERE / name), _LARGEST).decode()


def _hash(text: str) -> str:
    """Return the source of a Content-Security-Policy that allows this text alone."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
