"""Writes the small PyTorch files beside it, and what PyTorch itself says of them.

Run with PyTorch 2.13 (CPU), which the tests do not need:

    python tests/data/pytorch/make.py

`facts.json` has for every file its tensors in order: key, shape, format, the values as a
list of doubles (of the integers, where quantised; [] for the meta device), and the sets
of keys that share bytes.
"""

import json
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
FACTS: dict[str, dict] = {}


def fact(key, tensor: torch.Tensor) -> list:
    """What torch says of a tensor."""
    plain = tensor.detach()
    if plain.is_meta:
        values = []
    elif plain.is_quantized:
        values = plain.int_repr().double().flatten().tolist()
    elif plain.is_complex():
        values = torch.view_as_real(plain.resolve_conj()).double().flatten().tolist()
    else:
        values = plain.double().flatten().tolist()
    return [key, list(plain.shape), str(plain.dtype).removeprefix("torch."), values]


def note(name: str, tensors: list[list], ties=(), **more) -> None:
    FACTS[name] = {"tensors": tensors, "ties": [list(tie) for tie in ties], **more}


def nested(prefix: list[str], state: dict) -> list[list]:
    return [fact([*prefix, *key.split(".")], tensor) for key, tensor in state.items()]


class Tied(nn.Module):
    """A language model's two ends: the head is the embedding, its bias has two names."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 7)
        self.head.weight = self.embed.weight
        self.bias = self.head.bias


def state_dicts() -> None:
    state = Tied().state_dict()
    ties = [("embed.weight", "head.weight"), ("bias", "head.bias")]
    for name, zipped in (("state_dict.pt", True), ("legacy.pt", False)):
        torch.save(state, HERE / name, _use_new_zipfile_serialization=zipped)
        note(name, [fact(key, tensor) for key, tensor in state.items()], ties)


def views() -> None:
    whole = torch.arange(1000, dtype=torch.float32)
    square = torch.arange(36, dtype=torch.float32).reshape(6, 6)
    flat = torch.arange(12, dtype=torch.float32)
    state = {
        "part": whole[100:110],
        "query": square[:, :3],
        "key": square[:, 3:],
        "flat": flat,
        "row": flat.view(3, 4)[1],
        "turned": flat.view(3, 4).t(),
        "repeated": torch.ones(1).expand(5),
        "low": torch.arange(4.0).as_subclass(torch.Tensor),
    }
    overlapping = torch.arange(10, dtype=torch.float64)
    state |= {"left": overlapping[:6], "right": overlapping[4:]}
    for name, zipped in (("views.pt", True), ("views_legacy.pt", False)):
        torch.save(state, HERE / name, _use_new_zipfile_serialization=zipped)
        tensors = [fact(key, tensor) for key, tensor in state.items()]
        note(name, tensors, [("flat", "row", "turned")])


def training() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 3)).pow(2).sum().backward()
    adam.step()
    scheduler = torch.optim.lr_scheduler.StepLR(adam, 5)
    average = OrderedDict((k, v.clone()) for k, v in model.state_dict().items())
    saved = {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer": adam.state_dict(),
        "model_ema": average,
        "lr_scheduler": scheduler.state_dict(),
        "rng_state": torch.get_rng_state()[:16].clone(),
        "arch": "tiny",
        "best": None,
    }
    torch.save(saved, HERE / "training.ckpt")
    optimizer = [
        fact(["optimizer", "state", str(index), slot], tensor)
        for index, slots in adam.state_dict()["state"].items()
        for slot, tensor in slots.items()
    ]
    tensors = [
        *nested(["model_state_dict"], model.state_dict()),
        *optimizer,
        *nested(["model_ema"], average),
        fact("rng_state", saved["rng_state"]),
    ]
    collections = ["", "opt_state", "ema", "rng_state"]
    counts = [7, len(optimizer), 7, 1]
    note(
        "training.ckpt",
        tensors,
        collections=[w for w, n in zip(collections, counts, strict=True) for _ in range(n)],
    )


def formats() -> None:
    ramp = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 2 - 1
    state = {
        name: ramp.abs().to(getattr(torch, name))
        for name in [
            "float64",
            "float16",
            "bfloat16",
            "float8_e4m3fn",
            "float8_e5m2",
            "float8_e4m3fnuz",
            "float8_e5m2fnuz",
            "int64",
            "int32",
            "int16",
            "int8",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "bool",
            "complex64",
            "complex128",
        ]
    }
    state |= {
        "conj": torch.tensor([1 + 2j, 3 - 4j]).conj(),
        "neg": torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(ramp.clone()),
        "meta": torch.empty(4, 5, device="meta"),
        "by_tensor": torch.quantize_per_tensor(ramp, 0.25, 3, torch.qint8),
    }
    by_channel = torch.quantize_per_channel(
        ramp, torch.tensor([0.5, 0.25]).double(), torch.tensor([1, 2]), 0, torch.quint8
    )
    sparse = torch.eye(3).to_sparse()
    rows = torch.eye(3).to_sparse_csr()
    extra = {
        "by_channel": by_channel,
        "sparse": sparse,
        "rows": rows,
        "array": np.arange(4, dtype=np.int16).reshape(2, 2),
        "number": np.float32(1.5),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "format": torch.bfloat16,
        "text": "words",
    }
    torch.save(state | extra, HERE / "formats.pt")
    tensors = [fact(key, tensor) for key, tensor in state.items()]
    tensors += [
        fact("by_channel", by_channel),
        fact(["by_channel.scales"], by_channel.q_per_channel_scales()),
        fact(["by_channel.zero_points"], by_channel.q_per_channel_zero_points()),
        fact("sparse", sparse.to_dense()),
        fact(["sparse.indices"], sparse._indices()),
        fact("rows", rows.to_dense()),
        fact(["rows.crow_indices"], rows.crow_indices()),
        fact(["rows.col_indices"], rows.col_indices()),
        fact("array", torch.arange(4, dtype=torch.int16).reshape(2, 2)),
    ]
    note("formats.pt", tensors)


class Scripted(nn.Module):
    """Parameters, buffers, a plain attribute, and modules in modules."""

    state: torch.Tensor

    def __init__(self):
        super().__init__()
        self.stack = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.state = torch.zeros(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.stack(x) + torch.tensor([1.0, 2.0])


def scripts() -> None:
    scripted = torch.jit.script(Scripted().eval())
    scripted.save(HERE / "script.jit")
    scripted._save_for_lite_interpreter(str(HERE / "script.ptl"))
    buffers = dict(scripted.named_buffers())
    tensors = nested([], scripted.state_dict())
    words = ["buffers" if key in buffers else "params" for key in scripted.state_dict()]
    for name in ("script.jit", "script.ptl"):
        note(name, tensors, collections=words)
    traced = torch.jit.trace(Scripted().eval(), torch.ones(1, 3))
    traced.save(HERE / "traced.jit")
    note("traced.jit", nested([], traced.state_dict()), collections=words)
    line = torch.jit.script(nn.Linear(3, 2).eval())
    weights = line.state_dict()
    torch.jit.freeze(line).save(HERE / "frozen.jit")
    constants = [
        fact(["constants", str(index)], weights[key])
        for index, key in enumerate(("weight", "bias"))
    ]
    note("frozen.jit", constants)


def whole_objects() -> None:
    torch.save(nn.Linear(2, 2), HERE / "module.pt")
    torch.save(torch.arange(3.0), HERE / "tensor.pt")
    note("tensor.pt", [fact("tensor", torch.arange(3.0))])
    torch.save([torch.arange(3.0), torch.arange(2)], HERE / "list.pt")
    note("list.pt", [fact("0", torch.arange(3.0)), fact("1", torch.arange(2))])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    for make in (state_dicts, views, training, formats, scripts, whole_objects):
        make()
    with open(HERE / "facts.json", "w") as file:
        json.dump({"torch": torch.__version__, "files": FACTS}, file, indent=1)
        file.write("\n")
