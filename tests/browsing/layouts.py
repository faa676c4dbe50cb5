"""Targets of every kind that rows are made of, and headers of many tensors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import explorer as ex
from tests.checkpoints import write_sparse

__all__ = ["HOSTILE", "catalogued", "experts", "hostile_file", "inventories", "unequal"]

HOSTILE = (
    "[bold red]x[/].weight",
    "[/].bias",
    "[@click=app.quit]q[/].weight",
    "esc\x1b[31m.weight",
    "line\nend.weight",
    "\u202egnp.weight",
    "<script>alert(1)</script>.weight",
    "層.0.weight",
    "層.1.weight",
    "",
    "a.b",
    "a/b",
    "a",
)


def inventories() -> dict[str, ex.Inventory]:
    """Return small inventories of every kind of tree."""
    layer = {"kernel": np.ones((4, 3)), "bias": np.ones(3)}
    dtypes = ("float64", "float16", "float64", "float16", "float64")
    trees = {
        "flat": {"kernel": np.ones((4, 3))},
        "lists": [{"w": np.ones(2)}, {"w": np.ones(2)}, {"w": np.ones(3)}],
        "state": {"params": {"norm": layer}, "batch_stats": {"norm": {"mean": np.ones(3)}}},
        "mixed": {
            f"layers_{n}": {"kernel": np.ones((4, 3), d)} for n, d in enumerate(dtypes)
        },
        "tied": {f"layers_{n}": layer for n in range(5)},
        "deep": {"a": {"b": {"c": {"0": layer, "1": layer}}}},
        "numbers": {str(n): {str(m): np.ones(2) for m in range(3)} for n in range(3)},
    }
    found = {name: ex.explore(tree) for name, tree in trees.items()}
    return found | {"empty": ex.explore({})}


def catalogued() -> Iterator[str]:
    """Yield names of the catalogue whose trees differ."""
    yield from (
        "gpt2",
        "llama-3.1-8b",
        "deepseek-v3",
        "gpt-oss-20b",
        "bert-base-uncased",
    )


def hostile_file(folder: Path) -> str:
    """Write a file whose names are markup, escapes, and paths of one another."""
    return str(
        write_sparse(
            folder / "hostile.safetensors", dict.fromkeys(HOSTILE, ((2, 2), "F32"))
        )
    )


def experts(folder: Path, tensors: int) -> str:
    """Write a header of equal experts, which fold."""
    names = (
        f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"
        for layer in range(tensors // 750 + 1)
        for expert in range(250)
        for part in ("gate_proj", "up_proj", "down_proj")
    )
    layout = {name: ((4, 2), "F32") for name, _ in zip(names, range(tensors), strict=False)}
    return str(write_sparse(folder / "experts.safetensors", layout))


def unequal(folder: Path, tensors: int) -> str:
    """Write a header of tensors of a hundred in a block, of which none fold."""
    layout = {
        f"block_{n // 100}.part_{n % 100}.weight": ((1 + n % 97, 1 + 7 * n % 13), "F32")
        for n in range(tensors)
    }
    return str(write_sparse(folder / "unequal.safetensors", layout))
