"""A tree of adapters -> a folder that huggingface/peft loads."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_fit import is_bare
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.stored_tensors import stored_tensors
from explorer.arguments import check_kinds
from explorer.errors import InputError, TreeError, check_path, first_few
from explorer.transforms.adapters.adapter import Adapter
from explorer.transforms.adapters.peft_files import write_folder
from explorer.transforms.adapters.sites import sites_of
from explorer.transforms.adapters.trees import adapters_in, check_adapters, replaced_in
from explorer.tree.arrays import check_concrete

__all__ = ["write_peft"]

Path = tuple[str, ...]
_TASKS = {"ForCausalLM": "CAUSAL_LM", "LMHeadModel": "CAUSAL_LM",
          "ForSequenceClassification": "SEQ_CLS"}  # fmt: skip


def write_peft(
    adapters: Any, folder: Any, *, architecture: Architecture | None = None, base: str = ""
) -> None:
    """Write adapters as a folder that peft loads, complete or not at all.

    Args:
        adapters: of `add_lora`, `extract_lora` or `read_peft`.
        folder: a new one.
        architecture: of explorer's models: tensors get the names of its checkpoints. None for
            other trees, whose tensors are called as their paths are.
        base: what the config names as the base model.

    Raises:
        InputError: the folder exists or cannot be written, or adapters of parts of a fused
            projection, which peft has one adapter for.
    """
    check_path("folder", folder)
    check_kinds(("base", base, "a str"))
    check_adapters(adapters)
    check_concrete("adapters", adapters)
    if not jax.tree.leaves(adapters):
        raise TreeError("adapters", found="no adapter", expected="a tree of add_lora")
    rows = [
        row
        for path, each in adapters_in(adapters)
        for row in _modules(path, each, architecture)
    ]
    tensors: dict[str, np.ndarray] = {}
    for module, each, index in rows:
        a, b = np.asarray(each.lora_a)[index], np.asarray(each.lora_b)[index]
        tensors[f"{module}.lora_A.weight"] = a.T
        tensors[f"{module}.lora_B.weight"] = b.T
        if each.magnitude is not None:
            tensors[f"{module}.lora_magnitude_vector"] = np.asarray(each.magnitude)[index]
    saved = dict(_saved(adapters, architecture))
    config = _config(
        [(module, each) for module, each, _ in rows], saved, architecture, base
    )
    write_folder(str(folder), config, tensors | saved)


def _modules(
    path: Path, adapter: Adapter, architecture: Architecture | None
) -> Iterator[tuple[str, Adapter, Any]]:
    """Yield the module of each matrix of an adapter, and its index in the batch."""
    batch = adapter.kernels[0].batch
    if architecture is None:
        names = (".".join(path[:-1]),)
        if batch:
            raise InputError(
                "/".join(path), found="adapts a stack of matrices, which has no name in peft",
                expected="architecture=, or kernels that are not stacked",
            )  # fmt: skip
    else:
        scan = path[0].startswith("stages_")
        wanted = tuple(kernel.path for kernel in adapter.kernels)
        every = dict(_outside_blocks(architecture)) | {
            tuple(kernel.path for kernel in site.kernels): site.stored
            for site in sites_of(architecture, ("all",), scan)
        }
        if wanted not in every:
            raise InputError(
                "/".join(path), found="is a part of what a checkpoint stores as one matrix",
                expected="one adapter for all of it",
                cure="make the adapters with architecture=",
            )  # fmt: skip
        names = every[wanted]
    for name, index in zip(names, np.ndindex(*batch), strict=True):
        yield name, adapter, index


def _outside_blocks(
    architecture: Architecture,
) -> Iterator[tuple[tuple[Path, ...], tuple[str, ...]]]:
    """Yield the kernels of heads and poolers, and the module of each."""
    names = checkpoint_names_of(architecture)
    for name, stored in stored_tensors(architecture, names, is_bare(architecture)).items():
        is_kernel = len(stored.leaves) == 1 and stored.leaves[0][-1] == "kernel"
        if is_kernel and len(stored.shape) == 2 and name.endswith(".weight"):
            yield stored.leaves, (name.removesuffix(".weight"),)


def _saved(
    adapters: Any, architecture: Architecture | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is trained whole, as a checkpoint stores it."""
    left = {path: np.asarray(array) for path, array in replaced_in(adapters).items()}
    if architecture is None:
        yield from ((".".join(path), array) for path, array in left.items())
        return
    names = checkpoint_names_of(architecture)
    for name, stored in stored_tensors(architecture, names, is_bare(architecture)).items():
        if all(path in left for path in stored.leaves):
            yield name, stored.layout.store([left.pop(path) for path in stored.leaves])
    if left:
        rest = first_few("/".join(path) for path in left)
        raise InputError(rest, found="is stacked or a part of a stored tensor",
                         expected="parameters that a checkpoint stores on their own")  # fmt: skip


def _config(
    rows: list[tuple[str, Adapter]],
    saved: Mapping[str, Any],
    architecture: Architecture | None,
    base: str,
) -> dict[str, Any]:
    """Return the content of adapter_config.json."""
    rank = Counter(each.rank for _, each in rows).most_common(1)[0][0] if rows else 8
    variants = {each.variant for _, each in rows}
    if len(variants) > 1:
        raise InputError("adapters", found=f"variants {' and '.join(sorted(variants))}",
                         expected="one, which a config of peft can say")  # fmt: skip
    alpha = Counter(each.alpha for _, each in rows).most_common(1)[0][0] if rows else 8
    kind = "" if architecture is None else architecture.class_name
    task = next((word for end, word in _TASKS.items() if kind.endswith(end)), None)
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base or None,
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": "rslora" in variants,
        "use_dora": "dora" in variants,
        "fan_in_fan_out": architecture is not None and architecture.family == "gpt2",
        "inference_mode": True,
        "target_modules": _targets([module for module, _ in rows], architecture),
        "modules_to_save": _whole_modules(saved, architecture) or None,
        "rank_pattern": {m: each.rank for m, each in rows if each.rank != rank},
        "alpha_pattern": {m: each.alpha for m, each in rows if each.alpha != alpha},
    }


def _whole_modules(saved: Iterable[str], architecture: Architecture | None) -> list[str]:
    """Return the last names of modules trained whole; where others end so too, whole names."""
    modules = {name.rpartition(".")[0] for name in saved} - {""}
    every = set(modules)
    if architecture is not None:
        stored = stored_tensors(
            architecture, checkpoint_names_of(architecture), is_bare(architecture)
        )
        every |= {name.rpartition(".")[0] for name in stored}
    last = Counter(module.rpartition(".")[2] for module in every)
    short = {m: m.rpartition(".")[2] for m in modules}
    return sorted(s if last[s] == 1 else m for m, s in short.items())


def _targets(modules: list[str], architecture: Architecture | None) -> list[str]:
    """Return the last names of modules where these name no others, else whole names."""
    if architecture is not None:
        every = [m for site in sites_of(architecture, ("all",)) for m in site.stored]
        short = {module.rpartition(".")[2] for module in modules}
        if {m for m in every if m.rpartition(".")[2] in short} == set(modules):
            return sorted(short)
    return sorted(modules)
