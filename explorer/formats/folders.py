"""Which file of a folder is read, by the names in it; and what beside it is not.

A model is found first by its index, then by its usual names, then as the only file of its
kind. Training state (optimizer, schedule, random numbers) is never taken for a model.
"""

import os
import re
from typing import NamedTuple

from explorer.errors import FormatError, TargetError, first_few, printable
from explorer.formats.slices import SLICE
from explorer.storage.store import Store

__all__ = [
    "ENDINGS",
    "MANIFESTS",
    "SINGLE",
    "Found",
    "find_file",
    "find_index",
    "foreign_names",
    "is_index",
    "is_training_state",
    "not_read",
    "weight_folders",
    "weight_names",
]

# model.safetensors.index.json, and the index of a variant: model.safetensors.index.fp16.json
_INDEX = re.compile(r".*\.(safetensors|bin)\.index(\.[A-Za-z0-9_-]+)?\.json")
# In order of preference: the first that a folder holds is read.
SINGLE = (
    *("model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "model.gguf"),
    *("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    *("pytorch_model_fsdp.bin", "adapter_model.safetensors", "adapter_model.bin"),
)
ENDINGS = (
    *(".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".npz", ".npy"),
    *(".eqx", ".joblib", ".pkl"),
)
MANIFESTS = frozenset(("modules.json", "model_index.json"))
_MAX_FOLDERS = 100  # that are searched for weights

# What transformers, accelerate, Lightning and DeepSpeed save beside a model
_TRAINING = re.compile(
    r"(optimizer|scheduler|scaler|sampler|rng_state|random_states|training_args|dl_state_dict"
    r"|custom_checkpoint|lr_scheduler|grad_scaler|trainer_state|early_stopping)([._-]?[0-9]+)*"
    r"\.(bin|pt|pth|pkl|safetensors|ckpt)"
)


class Found(NamedTuple):
    """The files that are one model, and remarks on the choice."""

    names: list[str]
    remarks: list[str]


def is_training_state(name: str) -> bool:
    """Return whether a file name is that of training state that is saved beside a model.

    >>> is_training_state("rng_state_1.pth"), is_training_state("model.safetensors")
    (True, False)
    """
    return _TRAINING.fullmatch(name) is not None


def weight_names(names: list[str]) -> list[str]:
    """Return the names of files that may hold a model's weights."""
    return [n for n in names if n.endswith(ENDINGS) and not is_training_state(n)]


def is_index(path: str) -> bool:
    """Return whether a path is named as an index of shards.

    >>> is_index("a/model.safetensors.index.fp16.json"), is_index("config.json")
    (True, False)
    """
    return _INDEX.fullmatch(os.path.basename(path)) is not None


def find_index(names: list[str]) -> str | None:
    """Return the index of shards in a folder: of safetensors, and of no variant, first."""
    found = [
        (match[2] or "", match[1] == "bin", match[0])
        for match in map(_INDEX.fullmatch, names)
        if match
    ]
    return min(found)[2] if found else None


def find_file(path: str, names: list[str], store: Store) -> Found | None:
    """Return the files of a folder that are its model; None where there are none.

    Raises:
        TargetError: there are several, and nothing says which is the model.
        FormatError: shards without an index are not complete.
    """
    files = weight_names(names)
    if not files:
        return None
    chosen = [next((name for name in SINGLE if name in files), "")]
    if not chosen[0]:
        chosen = _of_first_ending(path, files)
    return Found(chosen, not_read(path, names, chosen, chosen[0], store))


def _of_first_ending(path: str, files: list[str]) -> list[str]:
    """Return the only file of the preferred ending, or all shards of it."""
    ending = next(e for e in ENDINGS if any(name.endswith(e) for name in files))
    same = [name for name in files if name.endswith(ending)]
    shards = [name for name in same if "-of-" in name]
    if shards and ending == ".gguf":  # its reader finds the other parts
        return shards[:1]
    if len(shards) == len(same):
        _check_shard_numbers(path, shards)
        return shards
    plain = [name for name in same if _are_variants(name, same, ending)]
    if len(same) == 1 or len(plain) == 1:
        return plain[:1] or same
    if all(map(SLICE.fullmatch, same)):
        return same
    raise TargetError(
        path,
        found=f"holds {len(same)} {ending} files and no index",
        expected="one of them as target: " + ", ".join(map(printable, same[:5])),
    )


def _are_variants(name: str, same: list[str], ending: str) -> bool:
    """Return whether all other files are variants of this one: `model.fp16.safetensors`."""
    stem = name.removesuffix(ending)
    return all(
        other == name or other.startswith((f"{stem}.", f"{stem}-")) for other in same
    )


def not_read(
    path: str, names: list[str], chosen: list[str], label: str, store: Store
) -> list[str]:
    """Return remarks on what is beside the files that are read."""
    files = weight_names(names)
    others = [n for n in files if n not in chosen and not _same_set(n, chosen)]
    adapters = [name for name in others if name.startswith("adapter_model.")]
    others = [name for name in others if name not in adapters]
    remarks = []
    if others:
        remarks.append(f"{label} was read; not {_listed(others)}")
    if adapters and not label.startswith("adapter_model."):
        remarks.append(
            f"{adapters[0]} is an adapter and was not counted: name it to see it"
        )
    state = [name for name in names if is_training_state(name)]
    if state:
        remarks.append(f"training state was not read: {_listed(state)}")
    is_composite = not MANIFESTS.isdisjoint(names)  # its other folders are its parts
    folders = [] if is_composite else weight_folders(path, store)
    if folders:
        remarks.append(f"folders of weights in it were not read: {_listed(folders)}")
    return remarks


def _same_set(name: str, chosen: list[str]) -> bool:
    """Return whether a file is a shard of a set that the reader completes."""
    stem = chosen[0].rpartition("-of-")[0][:-5] if "-of-" in chosen[0] else None
    return stem is not None and "-of-" in name and name.startswith(stem)


def _listed(names: list[str]) -> str:
    if len(names) > 6:
        return first_few(map(printable, names))
    return ", ".join(map(printable, names))


def weight_folders(path: str, store: Store) -> list[str]:
    """Return the names of the folders in a folder that hold weights themselves."""
    found = []
    for name in store.folders(path)[:_MAX_FOLDERS]:
        try:
            inner = store.names(os.path.join(path, name))
        except TargetError:  # unreadable: it is not what was asked for
            continue
        if weight_names(inner) or find_index(inner) or ".metadata" in inner:
            found.append(name)
    return found


def foreign_names(names: list[str]) -> str:
    """Return what the files of other programs in a folder are; "" where there are none."""
    from explorer.formats.signatures import foreign_name

    for name in names:
        if foreign := foreign_name(name):
            return f"{printable(name, 60)} {foreign.what}"
    return ""


def _check_shard_numbers(path: str, shards: list[str]) -> None:
    """Refuse a set "model-00001-of-00003" that is not complete."""
    total = shards[0].rpartition("-of-")[2].partition(".")[0]
    if total.isdecimal() and int(total) != len(shards):
        raise FormatError(
            path,
            found=f"{len(shards)} shards named -of-{total}",
            expected=f"{int(total)}",
            cure="fetch the missing ones",
        )
