"""What a config or the catalogue says of a model beyond its tensors."""

import msgspec

__all__ = ["Advertised", "Agreement", "Card"]


class Advertised(msgspec.Struct, frozen=True, kw_only=True):
    """What the publisher says: "671B", "37B" active, and which count of those active.

    `convention` is one of the keys of explorer's active parameters; `tensors` are those of
    the published files, where known: experts apart, queries, keys and values perhaps joined.
    """

    parameters: str
    active: str = ""
    convention: str | None = None
    tensors: int | None = None
    source: str = ""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint's tensors fit the architecture that its config describes.

    `missing` and `misshapen` would fail to load, `unexpected` would be left out. `parameters`
    is the count that the config promises, `found` what the checkpoint holds.
    """

    class_name: str
    tensors: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    parameters: int
    found: int

    @property
    def agrees(self) -> bool:
        """Whether every tensor is there, in its shape, and no other."""
        return not (self.missing or self.unexpected or self.misshapen)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The architecture behind an inventory.

    `experts` of which each token uses `experts_per_token` are 0 in a dense model. `agreement`
    is there where a checkpoint was held against its config.
    """

    family: str
    class_name: str
    tied: bool = False
    experts: int = 0
    experts_per_token: int = 0
    advertised: Advertised | None = None
    agreement: Agreement | None = None
