"""Says what a file is that holds no tensors explorer reads: one table, whatever its name.

It is asked for every file whose first bytes are not those of a format in
`explorer.formats.registry`, and for names in folders without weights.
"""

import re

from explorer.errors import FormatError, printable
from explorer.formats.foreign_files import FOREIGN, KERAS, READ_IT, Ends, Foreign, is_text
from explorer.storage.store import Store

__all__ = ["foreign_name", "foreign_zip", "refuse_foreign"]

_HEAD = 512  # bytes: those of a tar header
_TAIL = 8
_JSON_FIRST = ".eqx"  # hyperparameters may come before the arrays
_WEIGHTS = (
    *(".safetensors", ".gguf", ".bin", ".pth", ".pt", ".ckpt", ".msgpack", ".h5", ".onnx"),
)
_EXPORTED = ("archive_format", "serialized_exported_program.json")
_JSON = "is JSON text, not a checkpoint"


def _is_json(ends: Ends) -> bool:
    """Return whether text begins with a JSON object or list."""
    text = ends.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[:1] in (b"{", b"[") and is_text(ends.head)


def _is_sentence(ends: Ends) -> bool:
    """Return whether the first line is words; a pickle in text has none with spaces."""
    words = re.match(rb"\s*[A-Za-z][A-Za-z'-]+[,.:;]? +\S", ends.head)
    return words is not None and is_text(ends.head)


def refuse_foreign(path: str, store: Store) -> None:
    """Raise for a file that is something else than a checkpoint, and say what it is.

    Raises:
        FormatError: the table has it, by its bytes or by its name.
    """
    with store.blob(path) as blob:
        size = blob.size()
        ends = Ends(
            blob.read(0, min(_HEAD, size)),
            blob.read(max(0, size - _TAIL), min(_TAIL, size)),
        )
    foreign = next((row for row in FOREIGN if row.fits(ends)), None)
    if foreign is None and _is_json(ends) and not path.endswith(_JSON_FIRST):
        foreign = Foreign(f"{_JSON}: {_quoted(ends.head)}", READ_IT)
    if foreign is None and _is_sentence(ends):
        foreign = Foreign(f"is text, not a checkpoint: {_quoted(ends.head)}", READ_IT)
    foreign = foreign or foreign_name(path)
    if foreign is not None:
        raise FormatError(path, found=foreign.what, cure=foreign.cure)


def foreign_name(path: str) -> Foreign | None:
    """Return the format of another program that a name ends like; None where none does."""
    name = re.sub("[0-9]{5}", "00000", path.lower())
    return next(
        (row for row in FOREIGN if row.endings and name.endswith(row.endings)), None
    )


def foreign_zip(path: str, names: list[str]) -> FormatError | None:
    """Return the error for a zip archive that is another program's; None for the others."""
    inside = set(names)
    if "model.weights.h5" in inside:
        return FormatError(
            path, found="is a Keras model, which explorer does not read", cure=KERAS
        )
    if "MAR-INF/MANIFEST.json" in inside:
        return FormatError(path, found="is a TorchServe archive", cure="unzip it")
    if any(name.endswith(_EXPORTED) for name in names):
        return FormatError(
            path,
            found="is a program of torch.export, which explorer does not read",
            cure="torch.save(torch.export.load(FILE).state_dict, NEW) saves its weights",
        )
    held = next((n for n in names if n.lower().endswith(_WEIGHTS)), None)
    if held is not None:
        found = f"is a zip archive of files ({printable(held, 60)})"
        return FormatError(path, found=found, cure="unzip it and name one of them")
    return None


def _quoted(head: bytes) -> str:
    """Return the first words of a text as an error shows them."""
    text = " ".join(head.decode("utf-8", "replace").split())
    return repr(printable(text, 60))
