"""Settings that are checked before anything is planned: numbers in text, meshes, switches."""

from collections.abc import Mapping
from typing import Any

from explorer import dtypes
from explorer.errors import InputError, check_number, check_type, printable
from explorer.sizing.settings import Workload

__all__ = ["check_flag", "check_mesh", "check_slots", "check_trained_dtypes", "number_in"]

_DIGITS = 30  # of a number in text; Python itself refuses to read 4,300
# LLAMA_MAX_SEQ of src/llama-cparams.h (2025): more sequences fail outright
_SLOTS = 256
_MESH = "axes and sizes: fsdp=8,tensor=2"


def number_in(text: str) -> int | None:
    """Return the whole number from 0 that a text is, or None.

    >>> number_in(" 16"), number_in("x"), number_in("9" * 5000)
    (16, None, None)
    """
    digits = text.strip()
    if not digits.isascii() or not digits.isdecimal() or len(digits) > _DIGITS:
        return None
    return int(digits)


def check_mesh(mesh: object) -> None:
    """Refuse what is not a mapping of axes to sizes from 1.

    >>> check_mesh({"fsdp": 0})
    Traceback (most recent call last):
    explorer.errors.InputError: mesh: fsdp=0; expected axes and sizes: fsdp=8,tensor=2
    """
    check_type("mesh", mesh, Mapping, 'a mapping of axes to sizes: {"fsdp": 8}')
    assert isinstance(mesh, Mapping)
    for axis, size in mesh.items():
        check_type("mesh", axis, str, "names of axes")
        check_number(f"mesh: {printable(axis, 20)}", size)
        if size < 1:
            raise InputError("mesh", found=f"{printable(axis, 20)}={size}", expected=_MESH)


def check_flag(place: str, value: object) -> None:
    """Refuse what is neither true nor false: the text "no" would be taken for yes.

    >>> check_flag("train", "no")
    Traceback (most recent call last):
    explorer.errors.TreeError: train: is str; expected true or false
    """
    check_type(place, value, bool, "true or false")


def check_slots(workload: Workload) -> None:
    """Refuse more slots than llama.cpp has.

    >>> check_slots(Workload(engine="llama.cpp", parallel=4))
    """
    if workload.engine == "llama.cpp" and workload.parallel > _SLOTS:
        raise InputError(
            "parallel",
            found=f"is {workload.parallel:,}",
            expected=f"up to {_SLOTS} slots, the most that llama.cpp has",
        )


def check_trained_dtypes(workload: Workload) -> None:
    """Refuse to train in integers, which have no gradient.

    >>> check_trained_dtypes(Workload(train=True, compute_dtype="bfloat16"))
    """
    names = ["master", "compute_dtype"] if workload.train else []
    if workload.train and workload.lora is None:
        names.append("dtype")
    for name in names:
        value: Any = getattr(workload, name)
        if value is not None and not dtypes.is_trainable(value):
            raise InputError(
                name,
                found=f"{value} in training",
                expected="a type of floating point, such as bfloat16",
                cure="adapters train beside frozen integers: --lora rank=16"
                if name == "dtype"
                else "",
            )
