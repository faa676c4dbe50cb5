"""A small Llama in a folder, and the same quantised."""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors.numpy import save_file

from explorer.api.writing import quantize_file
from tests.conversion.test_quantising_linear import LLAMA, TENSORS

SCHEMES = ("nf4", "int4", "int8")


def write_folders(path: Path, schemes: Iterable[str] = SCHEMES) -> Path:
    """Write the model to `plain` in a folder, and as each scheme has it to one of its name."""
    (path / "plain").mkdir()
    save_file(TENSORS, path / "plain" / "model.safetensors")
    config = LLAMA | {"torch_dtype": "float32"}
    (path / "plain" / "config.json").write_text(json.dumps(config))
    for scheme in schemes:
        quantize_file(path / "plain", scheme, path / scheme)
    return path
