"""Settings as users give them -> a workload, with every slip one clear line."""

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from explorer import dtypes
from explorer.errors import (
    InputError,
    check_number,
    check_type,
    printable,
    shown,
)
from explorer.sizing.checks import (
    check_flag,
    check_mesh,
    check_slots,
    check_trained_dtypes,
    number_in,
)
from explorer.sizing.records import Lora, Variation, Workload

__all__ = ["axis_of", "checked_lora", "lora_of", "mesh_of", "settings_of", "workload_of"]

ENGINES = ("jax", "llama.cpp", "vllm", "sglang")
REMATS = ("none", "selective", "full")
AXES = ("data", "fsdp", "tensor", "expert", "sequence")
FLAGS = ("train", "compile", "swa_full", "kv_unified", "expand_latent")
_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_NEEDED = ("batch", "parallel", "accumulate")  # the others may be None
_COUNTS = ("context", "batch", "parallel", "prompt", "accumulate", "tokens")


def settings_of(
    workload: Workload | None, settings: Mapping[str, Any]
) -> tuple[Workload, Variation]:
    """Return a workload with settings changed, and the variation that others describe.

    Raises:
        InputError: a setting that does not exist or has a wrong value.

    >>> settings_of(None, {"batch": 4, "layers": 2})[1].layers
    2
    """
    known = (*Workload.__struct_fields__, *Variation.__struct_fields__)
    for name in settings:
        if name not in known:
            raise _unknown("plan()", "setting", name, known)
    change = {n: v for n, v in settings.items() if n in Variation.__struct_fields__}
    for name in ("layers", "vocab", "experts"):
        if change.get(name) is not None:
            _check_count(name, change[name])
    check_flag("untie", change.get("untie", False))
    if change.get("prune") is not None:
        check_type("prune", change["prune"], str, 'a text: "0.5" or "2:4"')
    rest = {name: value for name, value in settings.items() if name not in change}
    return workload_of(workload, rest), Variation(**change)


def workload_of(base: Workload | None, settings: Mapping[str, Any]) -> Workload:
    """Return a workload with settings changed, all of them checked.

    Raises:
        InputError: a setting that does not exist or has a wrong value.

    >>> workload_of(None, {"batch": 4}).batch
    4
    """
    if base is not None:
        check_type("workload", base, Workload, "an explorer.Workload")
    workload = msgspec.structs.replace(base or Workload(), **settings)
    for name in _COUNTS:
        value = getattr(workload, name)
        if value is not None or name in _NEEDED:
            _check_count(name, value)
    for name, known in (("engine", ENGINES), ("remat", REMATS)):
        word = str(getattr(workload, name)).strip().lower()
        if word not in known:
            raise _unknown(name, "word", getattr(workload, name), known)
        workload = msgspec.structs.replace(workload, **{name: word})
    if workload.lora is not None:
        workload = msgspec.structs.replace(workload, lora=checked_lora(workload.lora))
    check_number("zero", workload.zero)
    if not 0 <= workload.zero <= 3:
        raise InputError("zero", found=f"is {workload.zero}", expected="a stage, 0 to 3")
    if workload.topology is not None and not workload.compile:
        raise InputError("topology", found="nothing is compiled", cure="add --compile")
    if workload.price is not None:
        check_type("price", workload.price, (int, float), "dollars an hour")
        if not 0 <= workload.price < float("inf"):
            raise InputError(
                "price", found=f"is {workload.price}", expected="dollars an hour, from 0"
            )
    for name in ("dtype", "master", "compute_dtype"):
        value = getattr(workload, name)
        if value is not None:
            check_type(name, value, str, "a dtype's name, such as bfloat16")
            found = dtypes.parse(name, value).name
            workload = msgspec.structs.replace(workload, **{name: found})
    for name in FLAGS:
        if name != "swa_full" or workload.swa_full is not None:
            check_flag(name, getattr(workload, name))
    check_mesh(workload.mesh)
    check_slots(workload)
    check_trained_dtypes(workload)
    if workload.kv_dtype is not None:
        from explorer.sizing.cache.kv_types import kv_types

        kv_types(workload, "bfloat16")  # raises for one that the engine's cache cannot have
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


def checked_lora(lora: object) -> Lora:
    """Return adapters with a dtype's one name, all their settings checked.

    Raises:
        InputError: another object, a rank below 1, or a dtype that does not exist.

    >>> checked_lora(Lora(rank=8, dtype="bf16")).dtype
    'bfloat16'
    """
    check_type("lora", lora, Lora, "an explorer.Lora")
    assert isinstance(lora, Lora)
    check_number("lora: rank", lora.rank)
    if lora.rank < 1:
        raise InputError("lora: rank", found=f"is {lora.rank}", expected="at least 1")
    for name, words in (("targets", lora.targets), ("save", lora.save)):
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise InputError(
                f"lora: {name}",
                found=shown(words, 40),
                expected='a tuple of names: ("q", "v")',
            )
    if not lora.targets:
        raise InputError("lora: targets", found="no name", expected='names: ("q", "v")')
    return msgspec.structs.replace(
        lora,
        targets=tuple(lora.targets),
        save=tuple(lora.save),
        dtype=dtypes.parse("lora: dtype", lora.dtype).name,
    )


def lora_of(text: str) -> Lora:
    """Return the adapters that a command line describes.

    Raises:
        InputError: a text of another form.

    >>> lora_of("rank=16,targets=q,v")
    Lora(rank=16, targets=('q', 'v'), dtype='float32', dora=False, save=())
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
        if name not in ("targets", "save") and len(fields[name]) > 1:
            twice = printable(", ".join(fields[name]), 40)
            raise InputError("lora", found=f"{name} is {twice}", expected="one value")
    (rank,) = fields.get("rank", ("",))[:1]
    number = number_in(rank)
    if number is None or not 0 < number < 2**31:
        raise InputError(
            "lora", found=f"rank is {printable(rank, 20)!r}", expected="rank=16,targets=q,v"
        )
    settings: dict[str, Any] = {"rank": number}
    for name in ("targets", "save"):
        if name in fields:
            settings[name] = fields[name]
    if "dtype" in fields:
        settings["dtype"] = dtypes.parse("lora", fields["dtype"][0]).name
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
        number = number_in(size)
        if not number or axis.strip() in mesh:
            raise InputError(
                "mesh",
                found=printable(part, 40),
                expected="axes and sizes: fsdp=8,tensor=2",
            )
        mesh[axis.strip()] = number
    return mesh


def axis_of(text: str) -> tuple[str, list[Any]]:
    """Return the setting and the values that a command line sweeps over.

    Values of "lora" are ranks; "mesh" takes sizes of its fsdp axis.

    Raises:
        InputError: a text of another form, or a setting that does not exist.

    >>> axis_of("context=4096,8192"), axis_of("quantize=Q4_K_M,Q8_0")
    (('context', [4096, 8192]), ('quantize', ['Q4_K_M', 'Q8_0']))
    """
    name, sign, values = text.partition("=")
    name = name.strip().replace("-", "_")
    known = ("device", *Workload.__struct_fields__, *Variation.__struct_fields__)
    if name not in known:
        raise _unknown("sweep", "setting", name, known)
    parts = [part.strip() for part in values.split(",") if part.strip()]
    if not sign or not parts:
        raise InputError(
            "sweep", found=printable(text, 60), expected="a setting and values: batch=1,8"
        )
    return name, [_value(name, part) for part in parts]


def _value(name: str, text: str) -> Any:
    if name == "lora":
        return lora_of(f"rank={text}")
    if name == "mesh":
        return mesh_of(f"fsdp={text}")
    if name in (*FLAGS, "untie"):
        if text.lower() not in _SWITCH:
            raise _unknown("sweep", f"value of {name}", text, ("true", "false"))
        return _SWITCH[text.lower()]
    number = number_in(text)
    if number is not None:
        return number
    if name != "price":
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(
            "sweep", found=f"price={printable(text, 40)}", expected="dollars an hour"
        ) from None
