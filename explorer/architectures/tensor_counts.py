"""How many tensors a model has: three counts that people compare, and their differences."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture

__all__ = ["TensorCounts", "tensor_counts"]

_WORDS = {
    "buffers": "buffers",
    "scales": "scales",
    "second_names": "second names of tied tensors",
    "extra_layers": "tensors of extra layers",
}


class TensorCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors of a model: of its module, of its checkpoints, of its published file.

    Attributes:
        module_leaves: arrays of the Flax module, which stacks experts and has queries, keys
            and values separately.
        checkpoint_tensors: what a checkpoint must hold, under the published names.
        buffers: what the published file holds besides: masks, rotary frequencies, ids.
        scales: of its packed weights.
        second_names: tied tensors that are stored again.
        extra_layers: layers that the running model leaves out.
        file_tensors: all tensors of the published file; None where it is not known.
    """

    module_leaves: int
    checkpoint_tensors: int
    buffers: int = 0
    scales: int = 0
    second_names: int = 0
    extra_layers: int = 0
    file_tensors: int | None = None

    @property
    def sum(self) -> str:
        """The published file's tensors as a sum; "" where the file is not known.

        >>> TensorCounts(module_leaves=196, checkpoint_tensors=148, buffers=12, file_tensors=160).sum
        '160 file tensors = 148 checkpoint tensors + 12 buffers'
        """
        if self.file_tensors is None:
            return ""
        parts = {word: getattr(self, name) for name, word in _WORDS.items()}
        more = [f"{number:,} {word}" for word, number in parts.items() if number]
        terms = " + ".join([f"{self.checkpoint_tensors:,} checkpoint tensors", *more])
        return f"{self.file_tensors:,} file tensors = {terms}"


def tensor_counts(
    architecture: "Architecture", file_tensors: int | None = None, **beside: int
) -> TensorCounts:
    """Return the counts of an architecture, and of its published file where that is known.

    Args:
        architecture: the model.
        file_tensors: the number in the published file.
        beside: how many of them are not tensors of a checkpoint, by kind.

    >>> from explorer.architectures.catalog.entries import find
    >>> from explorer.architectures.families import architecture_of
    >>> entry = find("deepseek-v3")
    >>> tensor_counts(architecture_of(entry.config), entry.tensors, **entry.beside).sum
    '91,991 file tensors = 45,395 checkpoint tensors + 45,032 scales + 1,564 tensors of extra layers'
    """
    from explorer.architectures.declaration import count_declared
    from explorer.architectures.families import checkpoint_names_of
    from explorer.architectures.stored_tensors import count_stored

    return TensorCounts(
        module_leaves=count_declared(architecture),
        checkpoint_tensors=count_stored(architecture, checkpoint_names_of(architecture)),
        file_tensors=file_tensors,
        **beside,
    )
