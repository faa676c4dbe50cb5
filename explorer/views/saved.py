"""What was written, as a document: a sentence, and what casting lost."""

from explorer.document.records import Document, Notes, Paragraph
from explorer.document.words import counted
from explorer.transforms.written import SavedFile
from explorer.views import units

__all__ = ["saved_document", "saved_text"]


def saved_document(saved: SavedFile) -> Document:
    """Return what was written as a sentence and notes."""
    what = counted(saved.tensors, "tensor")
    named = {"hf": "Hugging Face's", "gguf": "llama.cpp's", "flax": "explorer's own"}
    names = f" under {named[saved.names]} names" if saved.names in named else ""
    text = f"{saved.path}: {what}{names}, {units.size(saved.nbytes)}, as {saved.format}"
    notes = (*map(str, saved.casts), *saved.notes)
    blocks = (Paragraph(text), *([Notes(notes)] if notes else []))
    return Document(blocks=blocks)


def saved_text(saved: SavedFile) -> str:
    """Return what `str(saved)` shows, in lines of at most 100 cells."""
    from explorer.document.text import text_of

    return text_of(saved_document(saved), 100)
