"""What peft made of tiny models, written to folders as peft and transformers have them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

import explorer as ex
from tests.conformance.adapters import FOLDER, MODELS

VARIANTS = ("lora", "rslora", "dora")
CASES = [(name, variant) for name in MODELS for variant in VARIANTS]


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    """Return all that peft gave for a model."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def part(name: str, prefix: str) -> dict[str, np.ndarray]:
    """Return what is below a prefix."""
    found = golden(name)
    return {
        key.removeprefix(prefix): each
        for key, each in found.items()
        if key.startswith(prefix)
    }


def base_folder(name: str, folder: Path) -> Path:
    """Write the base model as transformers has it; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(part(name, "base/"), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(MODELS[name][0]))
    return folder


def adapter_folder(name: str, variant: str, folder: Path) -> Path:
    """Write adapters as peft wrote them; return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(part(name, f"{variant}/file/"), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes(
        golden(name)[f"{variant}/config"].tobytes()
    )
    return folder


def loaded(name: str, folder: Path, *, scan: bool = False) -> tuple[Any, Any]:
    """Return explorer's module and parameters of a base model."""
    return ex.load_pretrained(base_folder(name, folder), scan=scan)


def output_of(module: Any, params: Any, ids: Any) -> np.ndarray:
    """Return what the golden has: logits, or hidden states where there is no head."""
    found = jax.jit(module.apply)({"params": params}, np.array(ids))
    return np.asarray(found.hidden if found.logits is None else found.logits)
