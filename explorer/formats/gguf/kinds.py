"""What a GGUF file is: a model, or something that belongs to one (`general.type`)."""

from explorer.errors import printable
from explorer.formats.gguf.header import Scalar

__all__ = ["kind_of", "kind_remarks"]

# what older files, which have no general.type, are by their architecture
_BY_ARCHITECTURE = {"clip": "mmproj", "controlvector": "control vector"}
_WORDS = {
    "mmproj": "the encoder and projector of a multimodal model, without its language model",
    "adapter": "an adapter, without the model that it changes",
    "imatrix": "statistics of activations, which guide quantisation: not parameters",
    "control vector": "directions that are added to hidden states, without their model",
}


def kind_of(metadata: dict[str, Scalar]) -> str:
    """Return "mmproj", "adapter", "imatrix", ... or "" for a model.

    >>> kind_of({"general.architecture": "clip"}), kind_of({"general.type": "model"})
    ('mmproj', '')
    """
    architecture = str(metadata.get("general.architecture", ""))
    kind = str(metadata.get("general.type", _BY_ARCHITECTURE.get(architecture, "")))
    if kind == "model":
        kind = _BY_ARCHITECTURE.get(architecture, "")
    return printable(kind, 40)


def kind_remarks(
    kind: str, metadata: dict[str, Scalar], tensors: int, is_big_endian: bool
) -> list[str]:
    """Return notes on what a file is beside a model, and how it is stored."""
    remarks = []
    if kind:
        words = _WORDS.get(kind, "not a model of its own")
        more = _details(kind, metadata)
        remarks.append(f"the file is of type {kind}: {words}{f' ({more})' if more else ''}")
    if not tensors:
        remarks.append("the file holds no tensors, only metadata such as a vocabulary")
    if is_big_endian:
        remarks.append("the file is big-endian")
    return remarks


def _details(kind: str, metadata: dict[str, Scalar]) -> str:
    alpha = metadata.get("adapter.lora.alpha")
    if kind == "adapter" and alpha is not None:
        return f"LoRA, alpha {printable(alpha, 20)}"
    chunks = metadata.get("imatrix.chunk_count")
    if kind == "imatrix" and chunks is not None:
        return f"{printable(chunks, 20)} chunks"
    return ""
