"""What every public record offers: a text and a short repr, plain dicts, JSON, a data frame."""

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import msgspec

from explorer.document.records import Document, Paragraph
from explorer.document.widths import clip
from explorer.document.words import counted
from explorer.errors import printable

__all__ = ["Exportable"]

# what shows each record: views stand above this room, and are found by name when one is shown
_SHOWN_BY = {
    "Change": "explorer.views.change:change_document",
    "Comparison": "explorer.views.comparison:compared_document",
    "Description": "explorer.views.stats:stats_document",
    "Difference": "explorer.views.diff:diff_document",
    "DigestComparison": "explorer.views.diff:digest_changes_document",
    "Explanation": "explorer.explaining.document:explanation_document",
    "Learned": "explorer.views.learned:learned_document",
    "Ledger": "explorer.views.ledger:ledger_document",
    "MemoryPlan": "explorer.views.plan:plan_document",
    "PlacementTable": "explorer.views.placement:placement_document",
    "RoleReport": "explorer.views.roles:roles_document",
    "Spectrum": "explorer.views.spectrum:spectrum_document",
    "Summary": "explorer.views.summary:summary_document",
    "Sweep": "explorer.views.sweep:sweep_document",
    "ValueCheck": "explorer.views.stats:check_document",
}
_LONGEST = 90  # cells of a repr's words


class Exportable(msgspec.Struct, frozen=True):
    """A record that can be exported; a subclass names its rows, if it has any.

    >>> class Size(Exportable, frozen=True):
    ...     name: str
    ...     sizes: tuple[int, ...] = ()
    >>> Size("a", (2**70,)).to_dict()
    {'name': 'a', 'sizes': [1180591620717411303424]}
    """

    def __str__(self) -> str:
        from explorer.document.text import text_of

        shown = self._document()
        return repr(self) if shown is None else text_of(shown, 100)

    def __repr__(self) -> str:
        words = filter(None, (str(getattr(self, "target", "")), self._words()))
        return f"{type(self).__name__}({clip(printable(': '.join(words), 200), _LONGEST)})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows: the record's document; None for its repr."""
        from explorer.document.html import html_of

        shown = self._document()
        return None if shown is None else html_of(shown)

    def _document(self) -> Document | None:
        """Return the document that shows the record; None where it has no view."""
        module, _, name = _SHOWN_BY.get(type(self).__name__, "").partition(":")
        return getattr(import_module(module), name)(self) if module else None

    def _words(self) -> str:
        """Return the first sentence of the record's document, or how many rows it has."""
        shown = self._document()
        blocks = () if shown is None else shown.blocks
        said = next((block.text for block in blocks if isinstance(block, Paragraph)), "")
        return said or counted(len(self.to_rows()), "row")

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, numbers and text: what JSON holds, exact.

        >>> import explorer as ex
        >>> ex.ledger({"params": {"bias": 0.5}}).to_dict()["biases"]
        1
        """
        return json.loads(json.dumps(msgspec.to_builtins(self)))

    def to_json(self, indent: int | None = 2) -> str:
        """Return the record as JSON; integers stay exact.

        Args:
            indent: spaces of a level; None for one line.

        >>> import explorer as ex
        >>> ex.ledger({"params": {"bias": 0.5}}).to_json(None)[:14]
        '{"target": "",'
        """
        return json.dumps(msgspec.to_builtins(self), indent=indent)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return what is a row of a table: the items of the record's first field of records.

        A record without such a field is one row.

        >>> import explorer as ex
        >>> [row["name"] for row in ex.summarize({"kernel": 0.0}, by="role").to_rows()]
        ['kernel']
        """
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if _first_record(value) is None:
                continue
            if isinstance(value, Mapping):
                pairs = value.items()
                return [{"name": key, **msgspec.to_builtins(item)} for key, item in pairs]
            return [msgspec.to_builtins(item) for item in value]
        return [self.to_dict()]

    def to_pandas(self) -> Any:
        """Return `to_rows` as a data frame of pandas, a column for each field.

        Integers stay integers, also where some are missing (`Int64`); what is missing is
        `pandas.NA`. The index is the number of the row, and is named after what a row is.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        from explorer.document.frames import frame_of

        return frame_of(self.to_rows(), self._row_kind())

    def _row_kind(self) -> str:
        """Return what a row is: the name of the record's field of records, else "record"."""
        for name in self.__struct_fields__:
            if _first_record(getattr(self, name)) is not None:
                return name.removesuffix("s")
        return "record"


def _first_record(value: Any) -> Any:
    """Return the first of several records; None for any other value."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    first = value[0] if isinstance(value, tuple | list) and value else None
    return first if isinstance(first, msgspec.Struct) else None
