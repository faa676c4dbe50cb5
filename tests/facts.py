"""Published facts about 44 models, gathered from public sources: the tests' oracle.

`total_parameters` counts the elements of unique parameters (tied tensors once). It was
checked by building each model on PyTorch's meta device with transformers 4.57.3 and
5.23.0 (torch 2.13.0), which agree on the total and on every entry of `breakdown`, and
against at least one exact figure published elsewhere; each model's `sources` name them.
`breakdown` is disjoint and sums to the total. `hub_safetensors_total` is what a plain
count of the published headers gives, None where none was published. Grok-1 is described
from its own JAX source and an inventory of its checkpoint.

A listing maps the tensors of the reference class to their shapes; the `ondisk` ones are
the published file layouts, with formats, where they differ. Both were derived from those
builds and cross-checked with published element totals and tensor counts.
"""

import gzip
import json
from functools import cache
from pathlib import Path

__all__ = ["listing", "models"]

_FOLDER = Path(__file__).parent / "data" / "facts"


@cache
def models() -> list[dict]:
    """Return the 44 models, each with its id, config and published counts."""
    return json.loads((_FOLDER / "models.json").read_text(encoding="utf-8"))


@cache
def listing(model_id: str, ondisk: bool = False) -> dict:
    """Return one model's `tensors` (name -> shape), `tied` groups and `buffers`.

    Args:
        model_id: an id of models().
        ondisk: the published file layout instead, name -> [shape, safetensors format].
    """
    ending = ".ondisk.json.gz" if ondisk else ".json.gz"
    path = _FOLDER / (model_id.replace("/", "__") + ending)
    return json.loads(gzip.decompress(path.read_bytes()))
