"""Folders that are several models used as one: each part in a folder of its own.

    modules.json       sentence-transformers: modules in a row, the first often the folder itself
    model_index.json   diffusers: the networks of a pipeline by name

The manifest decides what belongs to the model. A part that should have weights and has none is
an error: without it the total would be wrong.
"""

import os
from typing import Any, NamedTuple

import msgspec

from explorer.errors import FormatError, TargetError, first_few, printable
from explorer.formats.folders import find_index, weight_folders, weight_names
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["Composite", "ModelPart", "find_parts"]

_MAX_BYTES = 1_000_000
# Parts without weights, by the ends of their classes' names
_WEIGHTLESS = (
    *("Pooling", "Normalize", "Dropout", "LayerNormPooling", "Scheduler", "Tokenizer"),
    *("TokenizerFast", "Processor", "FeatureExtractor", "ImageProcessor", "Extractor"),
    *("BoW", "WordWeights", "Router", "Asym", "TokenizerBase"),
)


class ModelPart(NamedTuple):
    """One part: its name, which is "" for the folder itself; its folder; its class."""

    name: str
    path: str
    what: str


class Composite(NamedTuple):
    """The kind of folder, the parts that hold weights, and remarks on what else is there."""

    kind: str
    parts: list[ModelPart]
    remarks: list[str]


def find_parts(path: str, store: Store = LOCAL) -> Composite | None:
    """Return the parts of a folder that a manifest lists; None where there is no manifest.

    Raises:
        FormatError: the manifest is broken, names a part outside the folder, or one whose
            weights are missing.
    """
    if not store.is_folder(path):
        return None
    names = store.names(path)
    if "model_index.json" in names:
        return _found("diffusers", path, _pipeline(path, store), store)
    if "modules.json" in names and (modules := _modules(path, store)):
        found = _found("sentence-transformers", path, modules, store)
        # one module that is the folder itself is an ordinary folder
        return None if [part.name for part in found.parts] == [""] else found
    return None


def _found(kind: str, path: str, listed: list[ModelPart], store: Store) -> Composite:
    parts, weightless = [], []
    read: set[str] = set()
    for part in listed:
        if part.name in read:
            raise FormatError(
                path,
                found=f"lists part {printable(part.name, 60)!r} of this {kind} model twice",
                cure="fetch it again",
            )
        found = _with_weights(part, store)
        read |= {part.name} if found else set()
        if not found and not part.what.endswith(_WEIGHTLESS):
            raise FormatError(
                part.path,
                found=f"holds no weights of {printable(part.what, 60)}, a part of this "
                f"{kind} model",
                cure="fetch it, or name the parts that are there",
            )
        parts += found
        weightless += [] if found else [part.name or part.what]
    if not parts:
        raise TargetError(path, found=f"is a {kind} folder whose parts hold no weights")
    remarks = [f"parts without weights: {_listed(weightless)}"] if weightless else []
    tops = {part.name.partition("/")[0] for part in parts}
    others = [name for name in weight_folders(path, store) if name not in tops]
    if others:
        remarks.append(f"folders of weights that are not parts: {_listed(others)}")
    files = [] if "" in tops else weight_names(store.names(path))
    if files:
        remarks.append(f"files of weights that are not parts: {_listed(files)}")
    return Composite(kind, parts, remarks)


def _listed(names: list[str]) -> str:
    return first_few(printable(name, 60) for name in names)


def _with_weights(part: ModelPart, store: Store) -> list[ModelPart]:
    """Return the part if its folder holds weights, else the folders in it that do."""
    if not store.is_folder(part.path):
        return []
    names = store.names(part.path)
    if weight_names(names) or find_index(names):
        return [part]
    if not part.name:
        return []
    return [
        ModelPart(f"{part.name}/{name}", os.path.join(part.path, name), part.what)
        for name in weight_folders(part.path, store)
    ]


def _read(path: str, store: Store) -> Any:
    try:
        return msgspec.json.decode(store.read_whole(path, _MAX_BYTES))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            path, found=f"is not JSON ({error})", cure="fetch it again"
        ) from None


def _pipeline(path: str, store: Store) -> list[ModelPart]:
    """Return the networks of a pipeline: `name: [library, class]`, null where absent."""
    manifest = os.path.join(path, "model_index.json")
    content = _read(manifest, store)
    if not isinstance(content, dict):
        raise FormatError(manifest, found="is not a JSON object", cure="fetch it again")
    return [
        ModelPart(_plain(manifest, name), os.path.join(path, name), value[1])
        for name, value in content.items()
        if not name.startswith("_")
        and isinstance(value, list)
        and len(value) == 2
        and type(value[1]) is str
    ]


def _modules(path: str, store: Store) -> list[ModelPart]:
    """Return the modules of a sentence-transformers model, in their order; of others, none."""
    manifest = os.path.join(path, "modules.json")
    content = _read(manifest, store)
    parts = []
    for module in content if isinstance(content, list) else []:
        inner = module.get("path") if isinstance(module, dict) else None
        if not isinstance(inner, str):
            raise FormatError(
                manifest,
                found="lists a module without a path",
                expected="a list of objects with path and type",
                cure="fetch it again",
            )
        name = _plain(manifest, inner) if inner else ""
        what = str(module.get("type", "")).rpartition(".")[2]
        parts.append(ModelPart(name, os.path.join(path, name) if name else path, what))
    return parts


def _plain(manifest: str, name: str) -> str:
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise FormatError(
            manifest,
            found=f"names part {printable(name)!r}, outside its folder",
            expected="the names of folders in it",
        )
    return name
