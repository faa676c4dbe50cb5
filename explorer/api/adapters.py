"""Low-rank adapters of a model: planned, added, read, written and extracted."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.arguments import check_kinds
from explorer.errors import InputError, TreeError
from explorer.targets import as_path, resolve
from explorer.targets.inventories import inventory_of, known_architecture_of

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture
    from explorer.transforms.adapters.adapter import Variant
    from explorer.transforms.records import Change

__all__ = [
    "add_lora",
    "extract_lora",
    "load_lora",
    "merge_lora_file",
    "plan_lora",
    "save_lora",
]


def add_lora(
    params: Any,
    rank: int,
    targets: str | Sequence[str] = ("q", "v"),
    *,
    alpha: float | None = None,
    variant: "Variant" = "lora",
    rng: Any = None,
    dtype: Any = "float32",
    save: str | Sequence[str] = (),
    model: Any = None,
    axes: Mapping[str, str] | None = None,
) -> "tuple[Any, Change]":
    """Return low-rank adapters for a model, and what they add to it. Nothing changes yet.

    A is drawn as peft draws it and B is zero. `apply_lora(params, adapters)` gives the parameters
    in effect, inside a loss that is differentiated with respect to the adapters.

    Args:
        params: parameters of any framework (arrays, shapes, quantised tensors), or the path of a
            checkpoint that `load_pretrained` reads.
        rank: of each adapter.
        targets: modules as the checkpoints of a known model spell them ("q_proj"), short words
            ("q", "v", "up"), groups ("attention", "mlp", "all-linear"), or globs of paths.
        alpha: the scale times the rank (rsLoRA: times its root); None for the rank.
        variant: "lora", "rslora" or "dora".
        rng: a key; None for key 0.
        dtype: of the adapters.
        save: globs of parameters that are trained whole beside the adapters (a head).
        model: of explorer's models, the module, its name, config or path: targets are then
            those of its checkpoints, and a fused projection has one adapter, as in peft.
        axes: globs of kernels and what their axes are ("io", "oi", "bio"), where names do not
            tell.

    Raises:
        InputError: a target that names no kernel, a rank above a matrix's smaller side, another
            variant; as `load_pretrained` for a path.

    >>> import explorer as ex, jax.numpy as jnp
    >>> params = {"Dense_0": {"kernel": jnp.ones((64, 32)), "bias": jnp.zeros(32)}}
    >>> adapters, change = ex.add_lora(params, 4, "Dense_*")
    >>> adapters["Dense_0"]["kernel"].lora_a.shape, change.trainable
    ((64, 4), 384)
    """
    from explorer.transforms.adapters.adding import add_lora

    params, model = _loaded(params, model)
    return add_lora(
        params,
        rank,
        targets,
        alpha=alpha,
        variant=variant,
        rng=rng,
        dtype=dtype,
        save=save,
        architecture=_architecture(model),
        axes=axes,
    )


def extract_lora(
    tuned: Any,
    base: Any,
    *,
    rank: int | None = None,
    energy: float | None = None,
    model: Any = None,
    axes: Mapping[str, str] | None = None,
) -> "tuple[Any, Change]":
    """Return the adapters that turn a base model into a tuned one, or nearly, and what is left.

    Args:
        tuned, base: parameters of one structure, or paths of checkpoints.
        rank: of every adapter, or the most that `energy` may take.
        energy: the share of the squared singular values of each change that is kept.
        model, axes: as for `add_lora`.

    Raises:
        InputError: neither a rank nor an energy, models that differ in structure or not at all.

    >>> import explorer as ex, numpy as np
    >>> base = {"dense": {"kernel": np.zeros((8, 6), "float32")}}
    >>> tuned = {"dense": {"kernel": np.outer(np.arange(8.0), np.ones(6)).astype("float32")}}
    >>> adapters, change = ex.extract_lora(tuned, base, rank=1)
    >>> change.trainable
    14
    """
    from explorer.transforms.adapters.extracting import extract_lora

    tuned, model = _loaded(tuned, model)
    base, model = _loaded(base, model)
    architecture = _architecture(model)
    return extract_lora(
        tuned, base, rank=rank, energy=energy, architecture=architecture, axes=axes
    )


def load_lora(path: str | os.PathLike, params: Any, *, model: Any = None) -> Any:
    """Return the adapters of a folder of peft's, or of a GGUF file, for a model's parameters.

    Args:
        path: a folder with adapter_config.json, or a GGUF file of adapters.
        params: of the model that they adapt: a tree, in either layout of explorer's models.
        model: as for `add_lora`; needed for explorer's own models.

    Raises:
        InputError: no adapters, or those of another model; the error names what differs.

    >>> import explorer as ex, jax.numpy as jnp, tempfile
    >>> params = {"dense": {"kernel": jnp.ones((8, 4))}}
    >>> adapters, _ = ex.add_lora(params, 2, "dense")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ex.save_lora(adapters, f"{folder}/adapter")
    ...     again = ex.load_lora(f"{folder}/adapter", params)
    >>> bool((again["dense"]["kernel"].lora_a == adapters["dense"]["kernel"].lora_a).all())
    True
    """
    from explorer.transforms.adapters.gguf_adapters import read_adapters
    from explorer.transforms.adapters.peft_trees import adapters_of
    from explorer.transforms.adapters.trees import ParameterLeaves

    stored = read_adapters(as_path(path))
    return adapters_of(stored, ParameterLeaves(params), _architecture(model))


def merge_lora_file(
    base: Any,
    adapter: str | os.PathLike,
    path: str | os.PathLike,
    *,
    dtype: str | None = None,
    progress: Any = None,
) -> "Change":
    """Write a model with adapters merged into it to a new file, a tensor at a time.

    Args:
        base: a checkpoint of a model that explorer knows; it may be larger than memory. A GGUF
            file that is written as one keeps its types, and what is adapted is quantised again;
            packed weights of other files are dequantised.
        adapter: a folder with adapter_config.json, or a GGUF file of adapters.
        path: as of `save`.
        dtype: of the parameters; None for their own.
        progress: as of `save`.

    Returns:
        What became of each tensor.

    Raises:
        InputError: adapters of another model, a base that is packed in a layout that is not
            decoded, or a path that exists or cannot be written.
    """
    from explorer.conversion.merging_adapters import merge_into_file
    from explorer.conversion.settings import SaveSettings
    from explorer.dtypes import parse

    settings = SaveSettings(
        dtype=None if dtype is None else parse("dtype", dtype).name,
        total=None if progress is None else progress[0],
        done=None if progress is None else progress[1],
    )
    name = base if isinstance(base, str) else type(base).__name__
    found = resolve(base)
    return merge_into_file(found, as_path(adapter), as_path(path), settings, name)


def save_lora(
    adapters: Any, path: str | os.PathLike, *, model: Any = None, base: str = ""
) -> None:
    """Write adapters as a new folder that peft loads: complete, or not there.

    Args:
        adapters: of `add_lora`, `extract_lora` or `load_lora`.
        path: of the new folder.
        model: as for `add_lora`; needed for explorer's own models, whose checkpoints name the
            modules.
        base: what the config names as the base model.

    Raises:
        InputError: the folder exists or cannot be written.

    >>> import explorer as ex, jax.numpy as jnp, os, tempfile
    >>> adapters, _ = ex.add_lora({"dense": {"kernel": jnp.ones((8, 4))}}, 2, "dense")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_lora(adapters, f"{folder}/adapter")
    ...     sorted(os.listdir(f"{folder}/adapter"))
    ['adapter_config.json', 'adapter_model.safetensors']
    """
    from explorer.transforms.adapters.peft_writing import write_peft

    write_peft(adapters, as_path(path), architecture=_architecture(model), base=base)


def plan_lora(
    target: Any,
    rank: int,
    targets: str | Sequence[str] = ("q", "v"),
    *,
    variant: "Variant" = "lora",
    dtype: str = "float32",
    save: Sequence[str] = (),
) -> "Change":
    """Return what adapters would add to a model, without its weights: exact counts, as peft's.

    Args:
        target: a catalogued name, a config, or a checkpoint of a model that explorer knows.
        rank, targets, variant: as for `add_lora`.
        dtype: of the adapters.
        save: modules that are trained whole beside them (peft's modules_to_save).

    Raises:
        InputError: as `explore`; also a target that names no linear layer, or a model whose
            architecture is not known.

    >>> import explorer as ex
    >>> change = ex.plan_lora("qwen2.5-3b", 16, ("q_proj", "v_proj"))
    >>> change.trainable, change.parameters_after
    (3686400, 3089625088)
    """
    from explorer.sizing.settings import Lora
    from explorer.transforms.adapters.planning import planned_change

    check_kinds(
        ("rank", rank, "a whole number"),
        ("targets", targets, "a str or a list of them"),
        ("variant", variant, "a str"),
        ("dtype", dtype, "a str"),
        ("save", save, "a str or a list of them"),
    )
    words = (targets,) if isinstance(targets, str) else tuple(targets)
    save = (save,) if isinstance(save, str) else tuple(save)
    found = resolve(target)
    architecture = known_architecture_of(found)
    if architecture is None:
        raise InputError(
            target if isinstance(target, str) else type(target).__name__,
            found="has no architecture that explorer knows",
            expected="a name of `explorer catalog`, a config, or a checkpoint with one",
        )
    lora = Lora(rank=rank, targets=words, dtype=dtype, dora=variant == "dora", save=save)
    return planned_change(inventory_of(found), architecture, lora, variant)


def _loaded(params: Any, model: Any) -> tuple[Any, Any]:
    """Return parameters and the model that they are of, both read if a path is given."""
    if not isinstance(params, str | os.PathLike):
        return params, model
    from explorer.pretrained.loading import load_pretrained

    module, loaded = load_pretrained(as_path(params))
    return loaded, module if model is None else model


def _architecture(model: Any) -> "Architecture | None":
    """Return the architecture of what `model` may be."""
    if model is None:
        return None
    found = getattr(model, "architecture", None) or known_architecture_of(resolve(model))
    if found is None:
        raise TreeError(
            "model",
            found=f"{type(model).__name__} has no architecture",
            expected="a module of explorer's, a catalogued name, a config or a path",
        )
    return found
