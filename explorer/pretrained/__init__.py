"""Real weights as the parameters of Flax modules, and back.

    load_pretrained(path)  -> (module, params)     a checkpoint folder or a GGUF file
    from_tensors(config, tensors) -> (module, params)
    to_checkpoint(params, config) -> tensors       under the names of Hugging Face's classes
    config_of(path) -> config                      a config.json, or a GGUF file's metadata

All four are imported from `explorer.pretrained`; `load_pretrained` is also `explorer`'s.
Nothing is rounded, guessed or left out in silence: a tensor that is missing, left over, of
another shape, or of two values under two names is an error that names it.
"""

from explorer.pretrained.loading import config_of, load_pretrained
from explorer.pretrained.saving import to_checkpoint
from explorer.pretrained.tensors import from_tensors

__all__ = ["config_of", "from_tensors", "load_pretrained", "to_checkpoint"]
