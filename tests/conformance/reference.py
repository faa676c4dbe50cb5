"""What transformers answers: tiny models built from a case's config, run in float32.

Needs torch and transformers (the figures in tests/data/goldens: 2.13 and 5.23.0). Weights
go through a folder of published names, which transformers itself turns into its modules'.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

from tests.conformance import grok
from tests.conformance.cases import Case, inputs_of
from tests.conformance.goldens import comparable
from tests.conformance.weights import weights_of

__all__ = ["answer_of", "outputs_of"]

Shapes = dict[str, tuple[int, ...]]
_FILE = "model.safetensors"


def answer_of(case: Case, jitter: float = 0.0) -> tuple[dict[str, np.ndarray], Shapes]:
    """Return a case's outputs by name, and the shapes of its tensors by published name.

    Outputs are `logits`, `hidden`, `pooled`, `relationship` and `experts` (int8
    [layers, batch, length, k], sorted), where the class has them, with zeros at padding.
    `jitter` is the relative noise on every weight.
    """
    if case.model_type == "grok-1":
        shapes = grok.shapes_of(case.config)
        outputs = grok.forward(
            case.config, _weights(case, shapes, jitter), **inputs_of(case)
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            outputs, shapes = _run(case, Path(folder), jitter)
    return comparable(case, outputs), shapes


def _run(case: Case, folder: Path, jitter: float) -> tuple[dict[str, np.ndarray], Shapes]:
    class_name = case.config["architectures"][0]
    model_class = getattr(transformers, class_name)
    kind = case.reference_type or case.model_type
    text = json.dumps(case.config | {"model_type": kind})
    (folder / "config.json").write_text(text, encoding="utf-8")
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class(config).save_pretrained(folder)  # its names are those of published files
    shapes = {name: array.shape for name, array in load_file(folder / _FILE).items()}
    (folder / "config.json").write_text(text, encoding="utf-8")
    metadata = {"format": "pt"}
    save_file(_weights(case, shapes, jitter), folder / _FILE, metadata=metadata)
    return outputs_of(case, folder), shapes


def outputs_of(case: Case, folder: Path) -> dict[str, np.ndarray]:
    """Return what the model in a folder answers to a case's inputs, by the class of the case."""
    model_class = getattr(transformers, case.config["architectures"][0])
    model, report = model_class.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    faults = {what: found for what, found in report.items() if found}
    if faults:
        raise RuntimeError(f"{case.name}: {faults}")
    return _outputs(model.eval(), case)


def _weights(case: Case, shapes: Shapes, jitter: float) -> dict[str, np.ndarray]:
    weights = weights_of(shapes, case.model_type)
    random = np.random.RandomState(0)
    return {
        name: (array * (1 + jitter * random.standard_normal(array.shape))).astype(
            np.float32
        )
        for name, array in weights.items()
    }


def _outputs(model: torch.nn.Module, case: Case) -> dict[str, np.ndarray]:
    inputs = {name: torch.from_numpy(array) for name, array in inputs_of(case).items()}
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].permute(0, 3, 1, 2).contiguous()
    bodies, choices = [], []

    def keep(module: torch.nn.Module, _: object, answer: Any) -> None:
        if hasattr(answer, "last_hidden_state"):
            bodies.append(answer)
        if type(module).__name__.lower().endswith("topkrouter"):
            choices.append(answer[-1])

    for module in model.modules():
        module.register_forward_hook(keep)
    with torch.no_grad():
        head = model(**inputs)
    body = bodies[-1]  # the outermost
    found = {
        "logits": head.get("logits", head.get("prediction_logits")),
        "hidden": body.last_hidden_state,
        "pooled": body.get("pooler_output"),
        "relationship": head.get("seq_relationship_logits"),
    }
    outputs = {name: array.numpy() for name, array in found.items() if array is not None}
    if choices:
        shape = (len(choices), *inputs["input_ids"].shape, -1)
        outputs["experts"] = torch.stack(choices).reshape(shape).numpy()
    return outputs
