"""A checkpoint folder or a GGUF file -> a module and its parameters."""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.gguf_names import gguf_names
from explorer.arguments import check_kinds
from explorer.errors import InputError, TargetError, TreeError, check_type
from explorer.formats.files import is_config, list_path, load_path
from explorer.formats.gguf.metadata import metadata
from explorer.identify.config import read_config
from explorer.paths import Key
from explorer.pretrained.gguf.config import translate
from explorer.pretrained.gguf.decoders import TensorFacts
from explorer.pretrained.gguf.halves import rejoined
from explorer.pretrained.gguf.keys import with_gguf_keys
from explorer.pretrained.gguf.rotary import FACTORS
from explorer.pretrained.packing import unpacked
from explorer.pretrained.tensors import architecture_from, build
from explorer.storage.local import LOCAL, exists, first_bytes

if TYPE_CHECKING:
    import numpy as np
    from jax.sharding import Mesh

    from explorer.architectures.architecture import Architecture
    from explorer.formats.pieces import Pieces
    from explorer.models.transformer import Transformer
    from explorer.pretrained.leaves import Placing
    from explorer.training.sharding.rule import Rule, Rules

__all__ = ["config_of", "gguf_of", "load_pretrained"]


def load_pretrained(
    path: str | os.PathLike,
    *,
    scan: bool = False,
    dtype: Any = None,
    mesh: "Mesh | None" = None,
    rules: "Rule | Rules | None" = None,
) -> "tuple[Transformer, dict[str, Any]]":
    """Return the module and the parameters of a checkpoint.

    Parameters are read leaf by leaf. On a mesh a process reads of each leaf what its devices
    hold, and has no array twice.

    Args:
        path: a folder with config.json and weights (safetensors or PyTorch, sharded or
            not) or with a GGUF file; one of its weight files; or a GGUF file, whose
            metadata are used as the config. Quantised blocks of GGUF and packed weights of
            bitsandbytes, compressed-tensors and others are dequantised to float32.
        scan: whether identical layers are stacked along a leading axis.
        dtype: a float dtype for every leaf; None keeps the stored ones, and raises if
            layers or experts to be stacked have several.
        mesh: of `make_mesh`; None for the default device.
        rules: over which axes of the mesh tensors are split, as of `Trainer`.

    Returns:
        The module and its "params": `module.apply({"params": params}, tokens)`.

    Raises:
        InputError: no such target, a file that violates its format, an unsupported model,
            tensors that do not fit it or contradict each other; one line says which.

    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from safetensors.numpy import save_file
    >>> import explorer as ex
    >>> config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2,
    ...           "n_positions": 4, "vocab_size": 6}
    >>> model, folder = ex.build_model(config), Path(tempfile.mkdtemp())
    >>> import jax, jax.numpy as jnp
    >>> params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))["params"]
    >>> save_file(ex.to_checkpoint(params, config), folder / "model.safetensors")
    >>> _ = (folder / "config.json").write_text(json.dumps(config))
    >>> model, params = load_pretrained(folder)
    >>> model.apply({"params": params}, jnp.zeros((1, 4), int)).logits.shape
    (1, 4, 6)
    """
    check_kinds(("scan", scan, "True or False"))
    placing = _placing(mesh, rules)
    place = _place(path)
    if is_config(place) and not os.path.isdir(place):
        raise TargetError(
            place,
            found="is a config, not weights",
            expected="a folder with one beside its weights, or a GGUF file",
            cure=f"give the folder, {os.path.dirname(place) or '.'}",
        )
    if _is_gguf(place):
        architecture = _architecture_in(place)
        # last, because a quantised file is dequantised as it is read
        blocks: dict[str, np.ndarray | Pieces] = {**rejoined(_tensors(place))}
        names = gguf_names(architecture)
        return build(
            architecture,
            names,
            blocks,
            scan,
            dtype,
            place=place,
            placing=placing,
            is_own=True,
        )
    config = _config_of(place)
    architecture = architecture_from(config, _config_json(place))
    names = checkpoint_names_of(architecture)
    tensors = unpacked(config, _tensors(place), place, _config_json(place))
    return build(
        architecture,
        names,
        tensors,
        scan,
        dtype,
        place=place,
        config=config,
        placing=placing,
        is_own=True,
    )


def _placing(mesh: "Mesh | None", rules: "Rule | Rules | None") -> "Placing | None":
    """Return what gives leaves their places on a mesh."""
    if mesh is None and rules is None:
        return None
    from jax.sharding import Mesh

    from explorer.training.sharding.mesh import shardings_of
    from explorer.training.step.checks import check_rules

    check_rules(rules, mesh)
    if not isinstance(mesh, Mesh):
        check_type("mesh", mesh, (), "a mesh of devices", "make one with make_mesh(...)")
        return None
    return partial(shardings_of, mesh=mesh, rules=rules)


def config_of(path: str | os.PathLike) -> dict[str, Any]:
    """Return the Hugging Face config of a checkpoint, as `to_checkpoint` needs it.

    Args:
        path: as in `load_pretrained`. A GGUF file's metadata are translated.

    Raises:
        InputError: no such target, no config, or a malformed one.
    """
    return _config_of(_place(path))


def gguf_of(place: str) -> str:
    """Return the GGUF file that a path is, or that holds a folder's weights; else ""."""
    found = _gguf_in(place) or place
    return found if exists(found) and _is_gguf(found) else ""


def _place(path: str | os.PathLike) -> str:
    """Return an existing path; a folder's GGUF file if that is its weights."""
    place = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(place, str):
        raise TreeError(
            "path", found=f"is {type(path).__name__}", expected="a str or a pathlib.Path"
        )
    if not exists(place):
        by_name = "a name has no weights: download them, and give their folder"
        raise TargetError(
            place,
            found="is not a file or folder",
            expected="a folder with config.json and weights, or a GGUF file",
            cure="" if os.path.dirname(place) else by_name,
        )
    return _gguf_in(place) or place


def _gguf_in(place: str) -> str | None:
    """Return the GGUF file that holds a folder's weights, the first of a split set."""
    if not os.path.isdir(place):
        return None
    files = [name for name in LOCAL.names(place) if name.endswith(".gguf")]
    if not files or not list_path(place).format.startswith("gguf"):
        return None
    # the order in which a folder's weights are chosen: by name, a split set, the only file
    first = min(files, key=lambda name: (name != "model.gguf", "-of-" not in name, name))
    return os.path.join(place, first)


def _architecture_in(place: str) -> "Architecture":
    """Return the architecture of a GGUF file; errors name the file's own keys."""
    config = _config_of(place)
    try:
        return architecture_from(config, place)
    except InputError as error:
        named = str(metadata(place)["general.architecture"])
        raise with_gguf_keys(error, named) from None


def _config_of(place: str) -> dict[str, Any]:
    if _is_gguf(place):
        listing = list_path(place)
        shapes = dict(zip(map(str, listing.keys), listing.shapes, strict=True))
        tensors = TensorFacts(shapes, _tensors(place, FACTORS.__contains__))
        return translate(metadata(place), tensors, place)
    config = read_config(os.path.dirname(_config_json(place)))
    if config is None:
        raise TargetError(
            place,
            found="has no config.json",
            expected="a folder with one beside its weights, or a GGUF file",
            cure="download it, or pass its content and the tensors to "
            "explorer.pretrained.from_tensors(config, tensors)",
        )
    return config.content


def _is_gguf(place: str) -> bool:
    if os.path.isdir(place):
        return False
    return place.lower().endswith(".gguf") or first_bytes(place, 4) == b"GGUF"


def _config_json(place: str) -> str:
    folder = place if os.path.isdir(place) else os.path.dirname(place)
    return os.path.join(folder, "config.json")


def _every(key: Key) -> bool:
    return True


def _tensors(path: str, wanted: Callable[[Key], bool] = _every) -> "dict[str, np.ndarray]":
    return {
        key if isinstance(key, str) else ".".join(key): array
        for key, array in load_path(path, wanted).items()
    }
