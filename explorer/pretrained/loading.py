"""A checkpoint folder or a GGUF file -> a module and its parameters."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from explorer.architectures.families import names_of
from explorer.errors import InputError, TargetError, TreeError
from explorer.formats.files import is_config, list_path, load_path
from explorer.formats.gguf.metadata import metadata
from explorer.identify.config import read_config
from explorer.paths import Key
from explorer.pretrained import gguf_names
from explorer.pretrained.gguf_config import Tensors, translate
from explorer.pretrained.gguf_keys import spoken
from explorer.pretrained.gguf_rotary import FACTORS
from explorer.pretrained.tensors import architecture_from, build
from explorer.storage.local import LOCAL, exists, first_bytes

if TYPE_CHECKING:
    import numpy as np

    from explorer.architectures.architecture import Architecture
    from explorer.models.transformer import Transformer

__all__ = ["config_of", "load_pretrained"]


def load_pretrained(
    path: str | os.PathLike, *, scan: bool = False, dtype: Any = None
) -> "tuple[Transformer, dict[str, Any]]":
    """Return the module and the parameters of a checkpoint.

    Args:
        path: a folder with config.json and weights (safetensors or PyTorch, sharded or
            not) or with a GGUF file, one of its weight files, or a GGUF file. Of a GGUF
            file its own metadata are the config, whatever lies beside it, and quantised
            blocks are dequantised to float32.
        scan: whether alike layers are stacked along a leading axis.
        dtype: a float format for every leaf; None keeps the stored ones, and refuses to
            stack layers or experts of several.

    Raises:
        InputError: of the kind that fits: no such target, a file that breaks its format,
            a model that is not built, tensors that do not fit it or each other; one line
            says which.
    """
    place = _place(path)
    if is_config(place) and not os.path.isdir(place):
        raise TargetError(
            place,
            found="is a config, not weights",
            expected="a folder with one beside its weights, or a GGUF file",
            cure=f"give the folder, {os.path.dirname(place) or '.'}",
        )
    if _is_gguf(place):
        architecture = _architecture_in(place)
        # only now: a quantised file is dequantised as it is read
        tensors = gguf_names.rejoined(_tensors(place))
        names = gguf_names.names(architecture)
        return build(architecture, names, tensors, scan, dtype, place=place)
    config = _config_of(place)
    architecture = architecture_from(config, _config_json(place))
    names, tensors = names_of(architecture), _tensors(place)
    return build(architecture, names, tensors, scan, dtype, place=place, config=config)


def config_of(path: str | os.PathLike) -> dict[str, Any]:
    """Return the Hugging Face config of a checkpoint: what `to_checkpoint` wants.

    Args:
        path: as of `load_pretrained`. A GGUF file's metadata are translated.

    Raises:
        InputError: no such target, no config, or one that is ill-formed.
    """
    return _config_of(_place(path))


def _place(path: str | os.PathLike) -> str:
    """Return a path that is there; that of the GGUF file where a folder has no others."""
    place = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(place, str):
        raise TreeError(
            "path", found=f"is {type(path).__name__}", expected="a str or a pathlib.Path"
        )
    if not exists(place):
        by_name = "a name has no weights: fetch them, and give their folder"
        raise TargetError(
            place,
            found="is no file or folder",
            expected="a folder with config.json and weights, or a GGUF file",
            cure="" if os.path.dirname(place) else by_name,
        )
    return _gguf_in(place) or place


def _gguf_in(place: str) -> str | None:
    """Return the GGUF file that is a folder's weights, the first where a set is."""
    if not os.path.isdir(place):
        return None
    files = [name for name in LOCAL.names(place) if name.endswith(".gguf")]
    if not files or not list_path(place).format.startswith("gguf"):
        return None
    # as a folder's files are chosen: by name, then a set, then the only one
    first = min(files, key=lambda name: (name != "model.gguf", "-of-" not in name, name))
    return os.path.join(place, first)


def _architecture_in(place: str) -> "Architecture":
    """Return the architecture of a GGUF file; errors speak of its own keys."""
    config = _config_of(place)
    try:
        return architecture_from(config, place)
    except InputError as error:
        raise spoken(error, str(metadata(place)["general.architecture"])) from None


def _config_of(place: str) -> dict[str, Any]:
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
            cure="fetch it, or give its content and the tensors to "
            "explorer.pretrained.from_tensors(config, tensors)",
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
