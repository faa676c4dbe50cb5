"""What is known of the model whose tensors are written: its architecture, config and tokenizer."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from explorer.architectures.architecture import Architecture
from explorer.conversion.settings import SaveSettings
from explorer.conversion.values import ValueSource
from explorer.errors import InputError, check_type
from explorer.storage.local import exists
from explorer.targets.records import Checkpoint, Target, Tree

__all__ = ["Known", "known_of"]


class Known(NamedTuple):
    """The model behind a source.

    Attributes:
        architecture: its record; None where nothing describes it.
        config: the content of a config.json.
        folder: that has the config and perhaps a tokenizer; empty for none.
        gguf: a GGUF file whose metadata describe it; empty for none.
        is_own: whether `config` was given, so that metadata of `gguf` may be of another model.
        why: why there is no architecture.
    """

    architecture: Architecture | None = None
    config: Mapping[str, Any] | None = None
    folder: str = ""
    gguf: str = ""
    is_own: bool = False
    why: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether a Hugging Face folder describes it."""
        return bool(self.folder) and self.config is not None

    def unpacked(self) -> "Known":
        """Return the model without what its config says of packed weights."""
        if self.config is None:
            return self
        from explorer.pretrained.packing import without_packing

        return self._replace(config=without_packing(self.config))


def known_of(target: Target, source: ValueSource, settings: SaveSettings) -> Known:
    """Return what is known of a target's model.

    Raises:
        InputError: the given config or `like` describes no model that explorer knows.
    """
    from explorer.pretrained.loading import config_of
    from explorer.pretrained.tensors import architecture_from

    place = settings.like or (target.path if isinstance(target, Checkpoint) else "")
    folder, gguf = _beside(place)
    if settings.config is not None:
        check_type(
            "config", settings.config, Mapping, "a dict, the content of a config.json"
        )
        architecture = architecture_from(settings.config, "config")
        return Known(architecture, settings.config, folder, gguf, True)
    if settings.like:
        config = config_of(settings.like)
        return Known(architecture_from(config, settings.like), config, folder, gguf)
    if isinstance(target, Tree):
        return Known(target.architecture)
    try:
        config = config_of(place)
        return Known(architecture_from(config, place), config, folder, gguf)
    except InputError as error:
        return Known(None, _config_in(folder), folder, gguf, why=str(error))


def _beside(place: str) -> tuple[str, str]:
    """Return the folder around a checkpoint, and the GGUF file that it is."""
    if not place:
        return "", ""
    from explorer.pretrained.loading import gguf_of

    folder = place if os.path.isdir(place) else os.path.dirname(place) or "."
    has_config = exists(os.path.join(folder, "config.json"))
    return folder if has_config else "", gguf_of(place)


def _config_in(folder: str) -> Mapping[str, Any] | None:
    """Return the config of a model that explorer does not know."""
    from explorer.identify.config import read_config

    found = read_config(folder) if folder else None
    return None if found is None else found.content
