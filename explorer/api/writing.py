"""Targets written to new files and folders."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from explorer.arguments import check_kinds
from explorer.errors import InputError, TreeError, check_path, shown
from explorer.targets import as_path, resolve

if TYPE_CHECKING:
    from explorer.conversion.settings import SaveSettings
    from explorer.targets.records import Target
    from explorer.transforms.calibration.settings import Calibration
    from explorer.transforms.records import Change
    from explorer.transforms.written import SavedFile

__all__ = ["check_new", "plan_quantisation", "quantize_file", "save"]


def check_new(path: str | os.PathLike) -> None:
    """Refuse a path that anything has, before work is done for it.

    Raises:
        InputError: it exists.
    """
    from explorer.conversion.writing import check_free

    check_free(os.fspath(path))


def save(
    target: Any,
    path: str | os.PathLike,
    *,
    like: str | os.PathLike | None = None,
    config: Mapping[str, Any] | None = None,
    format: str | None = None,
    names: str | None = None,
    dtype: str | None = None,
    shard_bytes: int | None = None,
    select: str | None = None,
    progress: "tuple[Callable[[int], Any], Callable[[int], Any]] | None" = None,
) -> "SavedFile":
    """Write the tensors of a target to a new file or folder, which is complete or not there.

    The suffix says the format: .safetensors, .gguf, .npz, .msgpack, .orbax; a path without one is
    a folder of safetensors. Parameters of an architecture that explorer knows are written under
    the names of Hugging Face's class in safetensors, with config.json and tokenizer in a folder,
    and under llama.cpp's in GGUF, with metadata and tokenizer; everything else under its own
    paths. A tensor at a time is in memory; of Orbax, all.

    Args:
        target: a pytree or module that holds arrays, or a checkpoint.
        path: of the new file or folder.
        like: a checkpoint (a folder with config.json, a GGUF file) of the same model, whose
            config and tokenizer are taken.
        config: the content of a config.json, where `like` has another.
        format: one of safetensors, gguf, npz, msgpack, orbax, whatever the suffix.
        names: "hf", "gguf", "flax" (those of explorer's modules) or "source"; None as above.
        dtype: of the parameters that are of a float format; of a GGUF file's matrices.
        shard_bytes: the most that a file of a folder holds; None for 5 GB.
        select: a glob over the target's paths; None for all.
        progress: two functions: one is called with the bytes there will be, the other with
            those of each part that was written.

    Returns:
        What was written, and what casting lost.

    Raises:
        InputError: `path` exists or cannot be written, an unknown format, a model that the format
            cannot hold, parameters that are not those of the model; one line says which.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = save({"bias": np.zeros(3, "float32")}, f"{folder}/a.safetensors")
    >>> saved.tensors, saved.nbytes
    (1, 12)
    """
    from explorer.conversion.saving import save_target
    from explorer.conversion.settings import NAMES, SaveSettings
    from explorer.dtypes import parse

    check_path("path", path)
    check_kinds(
        ("config", config, "a dict or None"),
        ("format", format, "a str or None"),
        ("names", names, "a str or None"),
        ("dtype", dtype, "a str or None"),
        ("shard_bytes", shard_bytes, "a whole number or None"),
        ("select", select, "a str or None"),
    )
    _check_progress(progress)
    if names is not None and names not in NAMES:
        raise InputError("names", found=f"is {names!r}", expected=" or ".join(NAMES))
    if shard_bytes is not None and shard_bytes < 1:
        raise InputError("shard_bytes", found=f"is {shard_bytes}", expected="1 or more")
    settings = SaveSettings(
        format=format,
        like="" if like is None else as_path(like),
        config=config,
        names=names,
        dtype=None if dtype is None else _float(parse("dtype", dtype).name),
        shard_bytes=shard_bytes,
        select=select,
        total=None if progress is None else progress[0],
        done=None if progress is None else progress[1],
    )
    return save_target(resolve(target), os.fspath(path), settings)


def _check_progress(progress: object) -> None:
    pair = progress if isinstance(progress, tuple) else ()
    if progress is not None and not (len(pair) == 2 and all(map(callable, pair))):
        raise TreeError(
            "progress", found=shown(progress, 60), expected="a pair of functions, or None"
        )


def _float(dtype: str) -> str:
    known = ("float32", "float16", "bfloat16", "float64")
    if dtype in known:
        return dtype
    raise InputError(
        "dtype",
        found=f"is {dtype}",
        expected=", ".join(known),
        cure="explorer quantize writes smaller ones, with their scales",
    )


def plan_quantisation(target: Any, scheme: str) -> "Change":
    """Return what a scheme would make of a target's tensors, without weights: exact sizes.

    Args:
        target: as for `explore`: a catalogued name, a config, a checkpoint, a tree.
        scheme: one of llama.cpp's ("Q4_K_M") or one for linear layers ("nf4", "int4:g64").

    Raises:
        InputError: as `explore`; also no such scheme, or a model that it cannot store.

    >>> found = plan_quantisation("llama-3.1-8b", "Q4_K_M")
    >>> found.bytes_after, round(found.bits_after, 4)
    (4912898304, 4.8944)
    """
    from explorer.api.plans import subject_of
    from explorer.conversion.planning import planned_change

    return planned_change(subject_of(target, ()), scheme)


def quantize_file(
    target: Any,
    scheme: str,
    path: str | os.PathLike,
    *,
    like: str | os.PathLike | None = None,
    config: Mapping[str, Any] | None = None,
    progress: "tuple[Callable[[int], Any], Callable[[int], Any]] | None" = None,
    calibrate: "Calibration | None" = None,
) -> "Change":
    """Write a target with quantised weights to a new file, a tensor at a time.

    Args:
        target: a checkpoint, or parameters of an architecture that explorer knows.
        scheme: one of llama.cpp's ("Q4_K_M"), for a GGUF file; or one for linear layers ("nf4"),
            for safetensors in its library's layout.
        path: of the new file, or of a folder of safetensors.
        like, config, progress: as for `save`.
        calibrate: as for `quantize`; the model is then in memory as a whole.

    Raises:
        InputError: as `save`; also no such scheme, weights that are quantised already or are not
            finite, or a type that explorer does not encode.
    """
    from explorer.conversion.settings import SaveSettings
    from explorer.sizing.weights.parsing import parse_scheme

    check_path("path", path)
    wanted = parse_scheme(scheme)
    settings = SaveSettings(
        like="" if like is None else as_path(like),
        config=config,
        total=None if progress is None else progress[0],
        done=None if progress is None else progress[1],
    )
    name = (
        os.fspath(target)
        if isinstance(target, str | os.PathLike)
        else type(target).__name__
    )
    found, place = resolve(target), os.fspath(path)
    if calibrate is not None:
        return _calibrated_file(found, scheme, place, settings, calibrate)
    if not wanted.gguf:
        from explorer.conversion.quantising_linear import quantise_linear

        return quantise_linear(found, place, scheme, wanted, settings, name)
    from explorer.conversion.quantising import quantise_to_gguf

    return quantise_to_gguf(found, place, wanted, settings, name)


def _calibrated_file(
    found: "Target", scheme: str, path: str, settings: "SaveSettings", given: "Calibration"
) -> "Change":
    """Write a checkpoint whose quantised weights are chosen on data."""
    from msgspec.structs import replace

    from explorer.api.quantising import quantize
    from explorer.conversion.saving import save_target
    from explorer.targets.inventories import inventory_of
    from explorer.targets.records import Checkpoint

    if not isinstance(found, Checkpoint):
        raise InputError(
            "calibrate",
            found="is for a target that is not a checkpoint",
            expected="a checkpoint of a model that explorer knows",
            cure="ex.quantize(params, scheme, model=, calibrate=), then ex.save",
        )
    tree, change = quantize(found.path, scheme, calibrate=given)
    settings = replace(
        settings,
        like=settings.like or found.path,
        record=f"{change.transform} of {os.path.basename(found.path)}",
    )
    saved = save_target(resolve(tree), path, settings)
    notes = (*change.notes, *saved.notes)
    before = inventory_of(found).nbytes
    if change.bytes_after > before:
        grown = f"larger than the source: {before:,} -> {change.bytes_after:,} bytes"
        notes = (grown, *notes)
    return replace(change, notes=notes)
