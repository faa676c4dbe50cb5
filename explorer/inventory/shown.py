"""What every inventory offers beside its counts: a text, a notebook's table, dicts, JSON, a frame."""

import json
from importlib import import_module
from typing import Any

import msgspec

__all__ = ["Shown"]


class Shown(msgspec.Struct, frozen=True):
    """What an inventory shows of itself, through the views that stand above this room."""

    def __str__(self) -> str:
        return _view("inventory_text", self)

    def _repr_html_(self) -> str:
        return _view("inventory_html", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger and every tensor, as `explorer show --all --format json` prints them.

        >>> import explorer as ex
        >>> ex.explore({"params": {"bias": 0.5}}).to_dict()["ledger"]["biases"]
        1
        """
        return json.loads(self.to_json(None))

    def to_json(self, indent: int | None = 2) -> str:
        """Return `to_dict` as JSON; integers stay exact.

        Args:
            indent: spaces of a level; None for one line.

        >>> import explorer as ex
        >>> ex.explore({"params": {"bias": 0.5}}).to_json(None)[:25]
        '{"ledger": {"target": "",'
        """
        return json.dumps(_view("inventory_records", self), indent=indent)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a dict for each tensor; their "parameters" add up to the total.

        >>> import explorer as ex
        >>> [row["path"] for row in ex.explore({"params": {"bias": 0.5}}).to_rows()]
        ['params/bias']
        """
        return _view("inventory_records", self)["tensors"]

    def to_pandas(self) -> Any:
        """Return `to_rows` as a data frame of pandas, a column for each field.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        return _view("inventory_frame", self)


def _view(name: str, inventory: Shown) -> Any:
    # The views stand above this room and import it. They are found by name when an
    # inventory is shown, so that what it shows does not depend on what was imported before.
    return getattr(import_module("explorer.views.inventory"), name)(inventory)
