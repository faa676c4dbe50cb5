"""A checkpoint folder or a GGUF file -> a module and its parameters."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from explorer.errors import TargetError
from explorer.models.families import names_of
from explorer.paths import Key
from explorer.pretrained import gguf_names
from explorer.pretrained.gguf_config import Tensors, translate
from explorer.pretrained.gguf_rotary import FACTORS
from explorer.pretrained.tensors import architecture_from, build
from explorer.sources.config import read_config
from explorer.sources.files import list_path, load_path
from explorer.sources.gguf.metadata import metadata
from explorer.sources.opening import exists, first_bytes

if TYPE_CHECKING:
    import numpy as np

    from explorer.models.transformer import Transformer

__all__ = ["config_of", "load_pretrained"]


def load_pretrained(
    path: str | os.PathLike, *, scan: bool = False, dtype: Any = None
) -> "tuple[Transformer, dict[str, Any]]":
    """Return the module and the parameters of a checkpoint.

    Args:
        path: a folder with config.json and weights (safetensors or PyTorch, sharded or
            not), one of its weight files, or a GGUF file, whose quantised blocks are
            dequantised to float32.
        scan: whether alike layers are stacked along a leading axis.
        dtype: a float format for every leaf; None keeps the stored ones.

    Raises:
        InputError: of the kind that fits: no such target, a file that breaks its format,
            a model that is not built, tensors that do not fit it; one line says which.
    """
    place = os.fspath(path)
    config, is_gguf = _config_of(place), _is_gguf(place)
    architecture = architecture_from(config, place if is_gguf else _config_json(place))
    # only now: a quantised file is dequantised as it is read
    tensors = _tensors(place)
    if is_gguf:
        tensors, names = gguf_names.rejoined(tensors), gguf_names.names(architecture)
    else:
        names = names_of(architecture)
    return build(architecture, names, tensors, scan, dtype, place=place)


def config_of(path: str | os.PathLike) -> dict[str, Any]:
    """Return the Hugging Face config of a checkpoint: what `to_checkpoint` wants.

    Args:
        path: as of `load_pretrained`. A GGUF file's metadata are translated.

    Raises:
        InputError: no such target, no config, or one that is ill-formed.
    """
    return _config_of(os.fspath(path))


def _config_of(place: str) -> dict[str, Any]:
    if not exists(place):
        raise TargetError(place, found="is no file or folder")
    if _is_gguf(place):
        listing = list_path(place)
        shapes = dict(zip(map(str, listing.keys), listing.shapes, strict=True))
        tensors = Tensors(shapes, _tensors(place, FACTORS.__contains__))
        return translate(metadata(place), tensors, place)
    config = read_config(os.path.dirname(_config_json(place)))
    if config is None:
        raise TargetError(
            place,
            found="has no config.json",
            expected="a folder with one beside its weights, or a GGUF file",
            cure="fetch it, or give its content to from_tensors(config, tensors)",
        )
    return config.content


def _is_gguf(place: str) -> bool:
    if os.path.isdir(place):
        return False
    return place.lower().endswith(".gguf") or first_bytes(place, 4) == b"GGUF"


def _config_json(place: str) -> str:
    folder = place if os.path.isdir(place) else os.path.dirname(place)
    return os.path.join(folder, "config.json")


def _every(key: Key) -> bool:
    return True


def _tensors(path: str, wanted: Callable[[Key], bool] = _every) -> "dict[str, np.ndarray]":
    return {
        key if isinstance(key, str) else ".".join(key): array
        for key, array in load_path(path, wanted).items()
    }
