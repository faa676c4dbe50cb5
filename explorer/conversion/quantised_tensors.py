"""Quantised leaves of a tree as the tensors of a file: their own numbers, never quantised again."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import InputError, first_few, printable
from explorer.formats.writing import OutgoingTensor

if TYPE_CHECKING:
    import numpy as np

    from explorer.architectures.tensor_layout import TensorLayout
    from explorer.transforms.quantisation.quantized import Quantized

__all__ = ["QuantisedTensor", "check_type", "in_layout"]


class QuantisedTensor:
    """A tensor of a file whose weights are quantised.

    Args:
        name: that it would have as plain weights.
        tensor: of two axes, with outputs first.
    """

    def __init__(self, name: str, tensor: "Quantized"):
        self.name, self.tensor = name, tensor

    def outgoing(self, form: str) -> list[OutgoingTensor]:
        """Return what a file of a format holds of it.

        Raises:
            InputError: the format has no layout for its scheme.
        """
        if form == "gguf":
            return [self._blocks()]
        from explorer.transforms.quantisation.file_parts import parts_of

        stem = self.name.removesuffix(".kernel").removesuffix(".embedding")
        name = stem if stem.endswith(".weight") else f"{stem}.weight"
        return [
            OutgoingTensor(part, array.dtype.name, array.shape, _once(array))
            for part, array in parts_of(name, self.tensor).items()
        ]

    def _blocks(self) -> OutgoingTensor:
        import numpy as np

        values = np.asarray(self.tensor.values)
        kind = self.tensor.codec.dtype
        return OutgoingTensor(self.name, kind, self.tensor.shape, _once(values))


def check_type(name: str, tensor: "Quantized") -> None:
    """Refuse a tensor whose scheme is not one of GGUF's types.

    Raises:
        InputError: it is not.
    """
    if dtypes.find(tensor.codec.dtype).block < 2 or "scales" in tensor.parts:
        raise InputError(
            printable(name, 100),
            found=f"is quantised as {tensor.scheme}, of which GGUF has no type",
            expected="one of llama.cpp's types, such as Q8_0 or Q4_K",
            cure="save it as safetensors",
        )


def _once(array: "np.ndarray") -> "Callable[[], Iterator[np.ndarray]]":
    return lambda: iter([array])


def in_layout(
    name: str, leaves: "Sequence[Quantized]", layout: "TensorLayout", weights: "np.ndarray"
) -> "Quantized":
    """Return the quantised leaves of a stored tensor as one, in the order of its rows.

    Args:
        name: of the stored tensor.
        leaves: of two axes each.
        layout: that a file has them in.
        weights: the stored tensor, [outputs, inputs], as the leaves stand for it.

    Raises:
        InputError: their numbers cannot be put in that order: groups cross rows, for one.
    """
    import numpy as np

    from explorer.transforms.quantisation.quantized import Quantized

    first = leaves[0]
    if len({each.scheme for each in leaves}) == 1 and weights.ndim == 2:
        for make in (_as_they_are, _in_order):
            parts = make(leaves, layout)
            if parts is None:
                continue
            found = Quantized(parts, first.scheme, weights.shape, first.kind)
            if np.array_equal(np.asarray(found.rows()).astype(weights.dtype), weights):
                return found
    schemes = first_few(dict.fromkeys(each.scheme for each in leaves))
    raise InputError(
        printable(name, 100),
        found=f"holds {len(leaves)} leaves quantised as {schemes} in another order of numbers",
        expected="numbers that are stored row by row, as the file has them",
        cure="`explorer quantize FILE --to SCHEME -o OUT` quantises the file's own tensors",
    )


def _as_they_are(
    leaves: "Sequence[Quantized]", layout: "TensorLayout"
) -> "dict[str, np.ndarray] | None":
    """Return the parts of leaves one below the other."""
    import numpy as np

    arrays = {name: [each.parts[name] for each in leaves] for name in leaves[0].parts}
    if len(leaves) > 1 and any(np.ndim(each[0]) == 0 for each in arrays.values()):
        return None
    return {
        name: np.asarray(each[0])
        if len(each) == 1
        else np.concatenate([*map(np.asarray, each)])
        for name, each in arrays.items()
    }


def _in_order(
    leaves: "Sequence[Quantized]", layout: "TensorLayout"
) -> "dict[str, np.ndarray] | None":
    """Return parts whose rows are put in the order of a layout; None where they have no rows."""
    import numpy as np

    found = {}
    for name in leaves[0].parts:
        arrays = []
        for each in leaves:
            part = np.asarray(each.parts[name])
            outputs = each.matrix[1 if each.inputs_first else 0]
            if part.ndim < 2 or part.shape[0] != outputs:
                return None
            rows = part.reshape(outputs, -1)
            arrays.append(rows.T if each.inputs_first else rows)
        stored = np.ascontiguousarray(layout.store(arrays))
        inner = np.asarray(leaves[0].parts[name]).shape[1:]
        found[name] = stored.reshape(-1, *inner)
    return found
