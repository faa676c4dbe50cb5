"""Settings as users give them -> a workload, with every slip one clear line."""

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from explorer import dtypes
from explorer.errors import InputError, check_number, check_type, printable
from explorer.sizing.records import Lora, Workload

__all__ = ["lora_of", "mesh_of", "workload_of"]

ENGINES = ("jax", "llama.cpp", "vllm", "sglang")
REMATS = ("none", "selective", "full")
AXES = ("data", "fsdp", "tensor", "expert")
_COUNTS = ("context", "batch", "parallel", "prompt", "accumulate", "tokens")


def workload_of(base: Workload | None, settings: Mapping[str, Any]) -> Workload:
    """Return a workload with settings changed, all of them checked.

    Raises:
        InputError: a setting that does not exist or has a wrong value.

    >>> workload_of(None, {"batch": 4}).batch
    4
    """
    if base is not None:
        check_type("workload", base, Workload, "an explorer.Workload")
    for name in settings:
        if name not in Workload.__struct_fields__:
            raise _unknown("plan()", "setting", name, Workload.__struct_fields__)
    workload = msgspec.structs.replace(base or Workload(), **settings)
    for name in _COUNTS:
        value = getattr(workload, name)
        if value is not None:
            _check_count(name, value)
    for name, known in (("engine", ENGINES), ("remat", REMATS)):
        if getattr(workload, name) not in known:
            raise _unknown(name, "word", getattr(workload, name), known)
    return workload


def _unknown(place: str, what: str, found: Any, known: tuple[str, ...]) -> InputError:
    near = difflib.get_close_matches(str(found), known, 1, 0.5)
    return InputError(
        place,
        found=f"no {what} {printable(found, 60)!r}",
        expected=f"one of {', '.join(known)}",
        cure=f"did you mean {near[0]}?" if near else "",
    )


def _check_count(place: str, value: Any) -> None:
    check_number(place, value)
    if value < 1:
        raise InputError(place, found=f"is {value}", expected="at least 1")


def lora_of(text: str) -> Lora:
    """Return the adapters that a command line describes.

    Raises:
        InputError: a text of another form.

    >>> lora_of("rank=16,targets=q,v")
    Lora(rank=16, targets=('q', 'v'), dtype='float32', dora=False)
    """
    fields: dict[str, list[str]] = {}
    name = ""
    for part in text.split(","):
        head, sign, value = part.partition("=")
        name, value = (head.strip(), value) if sign else (name, part)
        fields.setdefault(name, []).append(value.strip())
    return lora_from({name: tuple(values) for name, values in fields.items()})


def lora_from(fields: Mapping[str, tuple[str, ...]]) -> Lora:
    """Return adapters from fields of text, checked."""
    known = Lora.__struct_fields__
    for name in fields:
        if name not in known:
            raise _unknown("lora", "field", name, known)
    (rank,) = fields.get("rank", ("",))[:1]
    if not rank.isdecimal() or not 0 < int(rank) < 2**31:
        raise InputError(
            "lora", found=f"rank is {printable(rank, 20)!r}", expected="rank=16,targets=q,v"
        )
    settings: dict[str, Any] = {"rank": int(rank)}
    if "targets" in fields:
        settings["targets"] = fields["targets"]
    if "dtype" in fields:
        settings["dtype"] = dtypes.find(fields["dtype"][0]).name
    if "dora" in fields:
        settings["dora"] = fields["dora"][0].lower() in ("", "1", "true", "yes")
    return Lora(**settings)


def mesh_of(text: str) -> dict[str, int]:
    """Return the mesh axes that a command line describes.

    Raises:
        InputError: an axis that does not exist, or a size that is not a number from 1.

    >>> mesh_of("fsdp=8,tensor=2")
    {'fsdp': 8, 'tensor': 2}
    """
    mesh: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = part.partition("=")
        if axis.strip() not in AXES:
            raise _unknown("mesh", "axis", axis.strip(), AXES)
        if not size.strip().isdecimal() or int(size) < 1:
            raise InputError(
                "mesh",
                found=printable(part, 40),
                expected="axes and sizes: fsdp=8,tensor=2",
            )
        mesh[axis.strip()] = int(size)
    return mesh
