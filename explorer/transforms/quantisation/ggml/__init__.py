"""ggml's block types, encoded as its own quantiser does, and decoded.

>>> import numpy as np
>>> rows = np.linspace(-1, 1, 512, dtype=np.float32).reshape(2, 256)
>>> blocks = encode(rows, "q4_k")
>>> blocks.shape, blocks.dtype
((2, 144), dtype('uint8'))
>>> bool(np.abs(decode(blocks, "q4_k", 256) - rows).max() < 0.05)
True
"""

from explorer.transforms.quantisation.ggml.encoding import (
    KINDS,
    check_encoder,
    decode,
    encode,
)

__all__ = ["KINDS", "check_encoder", "decode", "encode"]
