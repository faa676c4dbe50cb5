"""What a stored tensor logically is."""

import msgspec

__all__ = ["Packed"]


class Packed(msgspec.Struct, frozen=True, gc=False):
    """What a stored tensor logically is.

    Attributes:
        shape: logical shape; of quantization state, the stored one.
        dtype: logical, by explorer's name.
        collection: "params" for the weight, "quantization" for its state.
        rule: the scheme and how it is known; for state, what the tensors are.
        path: the path that roles are read from ("down_proj.qweight" is a "weight"); of
            the first tensor of those that differ in digits alone, which share a verdict.
        is_unread: whether it is a packed weight that is not understood.
    """

    shape: tuple[int, ...]
    dtype: str
    collection: str
    rule: str
    path: tuple[str, ...]
    is_unread: bool = False
