"""Folders that a training framework writes: which one it is, and what of it is read.

    DCP          torch.distributed.checkpoint: `.metadata` beside `__0_0.distcp`
    FSDP         accelerate: `pytorch_model_fsdp_0/`, a DCP folder
    DeepSpeed    `global_step500/mp_rank_00_model_states.pt`, the step named in `latest`
    Megatron     `iter_0000500/mp_rank_00/model_optim_rng.pt`, or a DCP folder
    Flax         flax.training.checkpoints: files `checkpoint_500`

Of several steps the newest is read. A container whose headers do not suffice is refused by name,
with the tool that converts it.
"""

import os
import re
from typing import NamedTuple

from explorer.errors import FormatError, printable
from explorer.formats.folders import weight_names
from explorer.formats.registry import detect
from explorer.storage.store import Store

__all__ = ["Container", "container_of_file", "find_container"]

_MAX_TEXT = 10_000
_MAX_FOLDERS = 1_000
_STEP = re.compile(r".*?([0-9]{1,18})")
_FLAX = re.compile(r"checkpoint_([0-9]+(?:\.[0-9]+)?)")
_FSDP = re.compile(r"(?:pytorch_)?model_fsdp_([0-9]+)|pytorch_model_([0-9]+)")
_DEEPSPEED = re.compile(r"(?:zero_pp_rank_[0-9]+_)?mp_rank_([0-9]{2,})_model_states\.pt")
_PIPELINE = re.compile(r"layer_[0-9]+-model_([0-9]+)-model_states\.pt")
_MEGATRON = re.compile(r"mp_rank_([0-9]{2})(_[0-9]{3})?(_[0-9]{3})?")
_MEGATRON_FILES = ("model_optim_rng.pt", "model_rng.pt", "model.pt")


class Container(NamedTuple):
    """The reader module, what it reads, and remarks on the choice."""

    module: str
    path: str
    remarks: list[str]


def find_container(path: str, names: list[str], store: Store) -> Container | None:
    """Return what is read of a training framework's folder; None for other folders.

    Raises:
        FormatError: its headers do not say what is in it; the message has the cure.
    """
    if _is_dcp(names):
        return Container("dcp", path, [])
    if any(name.endswith(".distcp") for name in names) and not weight_names(names):
        raise _without_metadata(path, "holds the .distcp files of")
    states = [name for name in names if name.endswith("model_states.pt")]
    if states:
        return _deepspeed(path, states)
    if weight_names(names):  # a model of its own comes before what is in folders
        return None
    flax = [(float(found[1]), name) for name in names if (found := _FLAX.fullmatch(name))]
    flax = [row for row in flax if store.is_file(os.path.join(path, row[1]))]
    if flax:
        name = max(flax)[1]
        module = "flax_msgpack"
        return Container(module, os.path.join(path, name), _newest(name, len(flax)))
    if "checkpoint" in names and _is_aggregate(path, store):
        return Container("flax_msgpack", os.path.join(path, "checkpoint"), [])
    return _inside(path, names, store)


def container_of_file(path: str, store: Store) -> Container | None:
    """Return what is read for one file of a training framework's folder; None for others.

    Raises:
        FormatError: it is a part that says nothing without the rest.
    """
    folder, name = os.path.split(path)
    if _DEEPSPEED.fullmatch(name):
        return Container("deepspeed", path, [])
    if not name.endswith(".distcp") and name != ".metadata":
        return None
    if store.is_file(os.path.join(folder, ".metadata")):
        return Container("dcp", folder, [f"{printable(name)} is a part of its folder"])
    raise _without_metadata(path, "is a part of")


def _without_metadata(path: str, is_what: str) -> FormatError:
    return FormatError(
        path,
        found=f"{is_what} a DCP checkpoint (torch.distributed.checkpoint)",
        expected="its .metadata beside it, which lists the tensors",
        cure="fetch the complete folder",
    )


def _newest(name: str, steps: int) -> list[str]:
    return [f"{printable(name)} was read, the newest of {steps}"] if steps > 1 else []


def _is_aggregate(path: str, store: Store) -> bool:
    """Return whether a folder is one that old Orbax saved: all arrays in one msgpack file."""
    file = os.path.join(path, "checkpoint")
    if not store.is_file(file) or store.folders(path):
        return False
    return detect(file, store).module == "flax_msgpack"


def _is_dcp(names: list[str]) -> bool:
    if ".metadata" not in names:
        return False
    return any(name.endswith(".distcp") for name in names) or not weight_names(names)


def _inside(path: str, names: list[str], store: Store) -> Container | None:
    """Return the container in a folder of a folder: the newest step, or the only one."""
    folders = store.folders(path)
    ranks = [found for name in folders if (found := _MEGATRON.fullmatch(name))]
    if ranks:
        return _megatron(path, [rank[0] for rank in ranks], store)
    fsdp = [name for name in folders if _FSDP.fullmatch(name)]
    fsdp = [name for name in fsdp if _holds_dcp(path, name, store)]
    if fsdp:
        others = [name for name in folders if name not in fsdp[:1]]
        remarks = [f"{fsdp[0]} was read; not {', '.join(map(printable, others[:6]))}"]
        return Container("dcp", os.path.join(path, fsdp[0]), remarks if others else [])
    inner = [name for name in folders[:_MAX_FOLDERS] if _holds_container(path, name, store)]
    named = _named_step(path, names, store)
    steps = [(int(found[1]), name) for name in inner if (found := _STEP.fullmatch(name))]
    if named in inner:
        chosen = named
    elif steps:
        chosen = max(steps)[1]
    elif len(inner) == 1:
        chosen = inner[0]
    else:
        return None
    place = os.path.join(path, chosen)
    found = find_container(place, store.names(place), store)
    remarks = (
        [f"{printable(chosen)} was read, of {len(inner)} steps"] if len(inner) > 1 else []
    )
    return found and found._replace(remarks=[*remarks, *found.remarks])


def _holds_dcp(path: str, name: str, store: Store) -> bool:
    return _is_dcp(store.names(os.path.join(path, name)))


def _holds_container(path: str, name: str, store: Store) -> bool:
    names = store.names(os.path.join(path, name))
    return (
        _is_dcp(names)
        or any(inner.endswith("model_states.pt") for inner in names)
        or any(map(_MEGATRON.fullmatch, names))
    )


def _named_step(path: str, names: list[str], store: Store) -> str:
    """Return the folder that DeepSpeed's `latest` or Megatron's number of it names."""
    if "latest" in names:
        return _text(os.path.join(path, "latest"), store)
    if "latest_checkpointed_iteration.txt" in names:
        text = _text(os.path.join(path, "latest_checkpointed_iteration.txt"), store)
        return f"iter_{text:0>7}"
    return ""


def _text(path: str, store: Store) -> str:
    return store.read_whole(path, _MAX_TEXT).decode("utf-8", "replace").strip()


def _deepspeed(path: str, states: list[str]) -> Container:
    ranks = [(found[1], name) for name in states if (found := _DEEPSPEED.fullmatch(name))]
    parallel = {rank for rank, _ in ranks}
    pipeline = any(map(_PIPELINE.fullmatch, states))
    if len(parallel) != 1 or pipeline:
        what = "pipeline stages" if pipeline else f"{len(parallel)} tensor-parallel ranks"
        raise FormatError(
            path,
            found=f"is a DeepSpeed checkpoint in {what}, whose slices do not add up by name",
            expected="one mp_rank",
            cure="convert it with zero_to_fp32.py or DeepSpeed's ds_to_universal.py",
        )
    others = len(states) - 1
    remarks = [f"{ranks[0][1]} was read; the {others} other ranks describe the same model"]
    return Container(
        "deepspeed", os.path.join(path, ranks[0][1]), remarks if others else []
    )


def _megatron(path: str, ranks: list[str], store: Store) -> Container:
    if len(ranks) > 1:
        raise FormatError(
            path,
            found=f"is a Megatron checkpoint in {len(ranks)} ranks ({', '.join(ranks[:3])}): "
            "each holds a slice of the matrices and copies of the rest",
            expected="one rank, or Megatron's distributed format",
            cure="convert it with Megatron's tools/checkpoint/convert.py",
        )
    folder = os.path.join(path, ranks[0])
    names = store.names(folder)
    file = next((name for name in _MEGATRON_FILES if name in names), None)
    if file is None:
        shown = ", ".join(printable(name, 40) for name in names[:5]) or "nothing"
        raise FormatError(
            folder,
            found=f"is a Megatron rank without {_MEGATRON_FILES[0]} ({shown})",
            cure="fetch it",
        )
    return Container("pytorch", os.path.join(folder, file), [])
