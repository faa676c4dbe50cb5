"""A target -> a new file or folder: what goes into it, and its writing."""

from msgspec.structs import replace

from explorer.conversion.folders import folder_files
from explorer.conversion.gguf_pairs import gguf_metadata
from explorer.conversion.known import Known, known_of
from explorer.conversion.models import ModelSource, stored_in_folder
from explorer.conversion.plain import PlainSource
from explorer.conversion.quantised_trees import quantised_file
from explorer.conversion.settings import SaveSettings, format_of
from explorer.conversion.values import ValueSource, source_of
from explorer.conversion.writing import Outgoing, write_outgoing
from explorer.document.words import counted
from explorer.errors import InputError, first_few
from explorer.formats.gguf.key_values import GgufValue
from explorer.formats.writing import OutgoingTensor
from explorer.targets.records import Target
from explorer.transforms.written import SavedFile, casts_of

__all__ = ["model_tensors", "names_of", "save_model", "save_source", "save_target"]


def save_target(target: Target, path: str, settings: SaveSettings) -> SavedFile:
    """Write a target's tensors to a new file or folder, which is complete or not there.

    Raises:
        InputError: it cannot be read, its content does not fit the format, the path exists or
            cannot be written; one line says which.
    """
    source = source_of(target)
    form, _ = format_of(path, settings.format)
    keeps = form == "safetensors" and settings.dtype is None
    if not (keeps and settings.names in (None, "source")):
        source.decode()
    return save_source(source, target, path, settings)


def save_source(
    source: ValueSource, target: Target, path: str, settings: SaveSettings
) -> SavedFile:
    """Write the tensors of a source, which is of a target, as `save_target` does."""
    form, _ = format_of(path, settings.format)
    source.side.select(settings.select)
    kept = source.side.undecoded()
    known = known_of(target, source, settings)
    if not kept:
        known = known.unpacked()
    # codes have no place in a model's layout
    names = (
        "source"
        if source.side.packed() and kept
        else names_of(form, source, known, settings)
    )
    if names == "source":
        made = PlainSource(source)
        tensors = made.outgoing(settings.dtype)
        notes = list(source.side.notes)
    else:
        made, tensors = model_tensors(source, known, names, settings.dtype)
        notes = _complete(made, tensors, known, names, settings)
    if kept:
        can = source.side.packed() and not source.side.made
        cure = "; a dtype, such as float32, dequantises them" if can else ""
        notes.append(
            f"{counted(kept, 'packed weight')} with the codes that are stored{cure}"
        )
    return _write(path, known, names, made, tensors, notes, settings)


def save_model(
    model: ModelSource, known: Known, path: str, settings: SaveSettings
) -> SavedFile:
    """Write a model's parameters under the names of the format's users.

    Raises:
        InputError: as `save_target`.
    """
    form, _ = format_of(path, settings.format)
    names = {"safetensors": "hf", "gguf": "gguf"}.get(form, "flax")
    tensors = _named(model, known, names, settings.dtype)
    notes = _complete(model, tensors, known, names, settings)
    return _write(path, known, names, model, tensors, notes, settings)


def _complete(
    model: ModelSource,
    tensors: list[OutgoingTensor],
    known: Known,
    names: str,
    settings: SaveSettings,
) -> list[str]:
    """Add what a folder holds beside its model, and return a note on what is left out."""
    own = names_of("safetensors", model.source, known, replace(settings, names=None))
    if names == "hf" and own == "source":
        model.others = _others(model, tensors, settings.dtype)
        tensors += model.others
        return []
    left = model.left_over()
    return [f"not of the model, left out: {first_few(left)}"] if left else []


def _others(
    model: ModelSource, tensors: list[OutgoingTensor], dtype: str | None
) -> list[OutgoingTensor]:
    """Return what a folder holds beside the parameters of its model: buffers, other heads."""
    plain, names = PlainSource(model.source), {each.name for each in tensors}
    used = model.used()
    found = [
        each
        for each in plain.outgoing(dtype)
        if plain.keys[each.name] not in used and each.name not in names
    ]
    model.before |= {each.name: plain.before[each.name] for each in found}
    model.losses |= plain.losses
    return found


def _write(
    path: str,
    known: Known,
    names: str,
    made: ModelSource | PlainSource,
    tensors: list[OutgoingTensor],
    notes: list[str],
    settings: SaveSettings,
) -> SavedFile:
    form, is_folder = format_of(path, settings.format)
    is_hf = names == "hf" or known.is_folder
    file = quantised_file(made, tensors, form, is_folder and is_hf)
    notes += file.notes
    outgoing = Outgoing(tensors=file.tensors)
    if form == "gguf":
        shapes = {each.name: each.shape for each in tensors}
        is_model = names == "gguf"
        pairs, more = gguf_metadata(path, known, shapes, file.tensors, is_model)
        if settings.record:
            pairs |= {"explorer.transform": GgufValue("string", settings.record)}
        outgoing = outgoing._replace(pairs=pairs)
        notes += more
    elif form == "safetensors":
        record = {"explorer.transform": settings.record} if settings.record else {}
        outgoing = outgoing._replace(words={"format": "pt", **record})
        if is_folder:
            files, more = folder_files(
                known, file.dtype or settings.dtype, is_hf, file.packing
            )
            outgoing = outgoing._replace(files=files)
            notes += more
    write_outgoing(path, form, is_folder, outgoing, settings)
    return SavedFile(
        path=path,
        format=form,
        names=names,
        tensors=len(file.tensors),
        nbytes=sum(each.nbytes for each in file.tensors),
        casts=casts_of(made.before, file.tensors, made.losses),
        notes=tuple(notes),
    )


def names_of(form: str, source: ValueSource, known: Known, settings: SaveSettings) -> str:
    """Return whose names the tensors get: "hf", "gguf", "flax" or "source"."""
    if settings.names is not None:
        return settings.names
    if form == "gguf":
        return "gguf" if not source.format.startswith("gguf") else "source"
    if form != "safetensors" or known.architecture is None:
        return "source"
    stored = stored_in_folder(known.architecture)
    keys = source.side.tensors
    has_theirs = sum(name in keys for name in stored) > len(stored) // 2
    return "source" if has_theirs else "hf"


def model_tensors(
    source: ValueSource, known: Known, names: str, dtype: str | None = None
) -> tuple[ModelSource, list[OutgoingTensor]]:
    """Return a model's parameters under the names of a format's users, and where they are from.

    Args:
        source: where the parameters are.
        known: their model.
        names: "hf", "gguf" or "flax".
        dtype: that they are cast to.

    Raises:
        InputError: no model is known, or the source lacks parameters of it.
    """
    if known.architecture is None:
        raise InputError(
            source.side.place,
            found="has no architecture, by which its tensors would be named",
            expected="a config.json beside it, a GGUF file, or a module of explorer",
            cure=known.why
            or "give one with --like FOLDER, or keep the names: --names source",
        )
    model = ModelSource(source, known.architecture)
    return model, _named(model, known, names, dtype)


def _named(
    model: ModelSource, known: Known, names: str, dtype: str | None
) -> list[OutgoingTensor]:
    architecture = known.architecture
    assert architecture is not None
    if names == "gguf":
        from explorer.conversion.gguf_tensors import gguf_outgoing

        return gguf_outgoing(model, architecture, dtype)
    if names == "flax":
        from explorer.conversion.flax_tensors import flax_outgoing

        return flax_outgoing(model, architecture, dtype)
    stored = stored_in_folder(architecture)
    model.check(stored)
    return [model.outgoing(name, tensor, dtype) for name, tensor in stored.items()]
