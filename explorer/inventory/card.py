"""What a config or the catalogue says of a model beyond its tensors."""

from typing import Any

import msgspec

__all__ = ["Advertised", "Agreement", "Card"]


class Advertised(msgspec.Struct, frozen=True, kw_only=True):
    """What the publisher says: "671B", "37B" active, and which count of those active.

    `convention` is one of the keys of explorer's active parameters. `file_tensors` are those of
    the published file, `file_sum` what they add up from; `file_bytes` and `file_format`
    describe one of quantised weights.
    """

    parameters: str
    active: str = ""
    convention: str | None = None
    source: str = ""
    file_tensors: int | None = None
    file_sum: str = ""
    file_bytes: int | None = None
    file_format: str = ""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint's tensors fit the architecture that its config describes.

    Of `lacking` tensors, `missing` names those that are few enough to be listed. They and
    the `misshapen` would fail to load, `unexpected` would be left out. `parameters`
    is the count that the config promises, `found` what the checkpoint holds.
    """

    class_name: str
    tensors: int
    lacking: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    parameters: int
    found: int

    @property
    def agrees(self) -> bool:
        """Whether every tensor is there, in its shape, no other, and all can be learned."""
        differs = self.lacking or self.unexpected or self.misshapen
        return not differs and self.parameters == self.found


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The architecture behind an inventory.

    `experts` of which each token uses `experts_per_token` are 0 in a dense model.
    `checkpoint_tensors` are those of its checkpoints, under Hugging Face's names: experts
    separately, queries, keys and values perhaps joined. `agreement` is there where a checkpoint
    was checked against its config. `packing` is the `quantization_config` of a config.json.
    """

    family: str
    class_name: str
    tied: bool = False
    experts: int = 0
    experts_per_token: int = 0
    checkpoint_tensors: int = 0
    advertised: Advertised | None = None
    agreement: Agreement | None = None
    packing: dict[str, Any] = {}
