"""Pretrained weights as the parameters of Flax modules, and back.

    load_pretrained(path)  -> (module, params)     a checkpoint folder or a GGUF file
    from_tensors(config, tensors) -> (module, params)
    to_checkpoint(params, config) -> tensors       under the names of Hugging Face's classes
    config_of(path) -> config                      a config.json, or a GGUF file's metadata

All four are imported from `explorer.pretrained`; `load_pretrained` and `to_checkpoint` are
also in `explorer`. Nothing is rounded, guessed or dropped silently: a tensor that is
missing, unexpected, of another shape, or stored twice with different values is an error
that names it.
"""

from explorer.pretrained.loading import config_of, load_pretrained
from explorer.pretrained.saving import to_checkpoint
from explorer.pretrained.tensors import from_tensors

__all__ = ["config_of", "from_tensors", "load_pretrained", "to_checkpoint"]
