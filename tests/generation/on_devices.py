"""Models run on four devices of one process: `python -m tests.generation.on_devices`.

It prints what was found on meshes of automatic and of explicit axes, set as the current or not.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding

import explorer as ex
from explorer.training import shardings_of
from tests.generation.tiny_folder import WORDS, write
from tests.models.tiny import model_of

PROMPTS = [[5, 6, 7], [8, 9, 10, 11]]


def meshes() -> dict[str, Mesh]:
    """Return meshes of the same devices and names."""
    kinds = {"automatic": AxisType.Auto, "explicit": AxisType.Explicit}
    axes = ("data", "tensor")
    return {
        name: jax.make_mesh((2, 2), axes, axis_types=(kind,) * 2)
        for name, kind in kinds.items()
    }


def placed(params: Any, mesh: Mesh) -> Any:
    """Return parameters on a mesh, in arrays whose types say so if its axes are explicit."""

    def place(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
        return jax.device_put(leaf, NamedSharding(mesh, sharding.spec))

    return jax.tree.map(place, params, shardings_of(params, mesh))


def tokens() -> dict[str, Any]:
    """Return continuations by parameters that are placed so, under a mesh that is set so."""
    model, variables = model_of("llama", scan=True)
    found = {}
    for name, mesh in meshes().items():
        params = placed(variables["params"], mesh)
        found[f"{name} unset"] = ex.generate(model, params, PROMPTS, max_new_tokens=4)
        for other, current in meshes().items():
            with jax.set_mesh(current):
                given = ex.generate(model, params, PROMPTS, max_new_tokens=4)
            found[f"{name} under {other}"] = given
    return {name: each.tokens for name, each in found.items()}


def texts(folder: Path) -> dict[str, Any]:
    """Return what is read from folders under a mesh that is set, and under none."""
    decoder, encoder = write(folder / "llama"), write(folder / "bert", "bert")
    text, found = " ".join(WORDS[:9]), {}
    for name, mesh in ({"none": None} | meshes()).items():
        with nullcontext() if mesh is None else jax.set_mesh(mesh):
            found[name] = [
                ex.generate_text(decoder, text, max_new_tokens=4).text,
                ex.evaluate_text(decoder, text, length=8).loss,
                ex.embed(encoder, text, pooling="mean").tolist(),
            ]
    return found


if __name__ == "__main__":
    with TemporaryDirectory() as path:
        json.dump({"tokens": tokens(), "texts": texts(Path(path))}, sys.stdout)
