"""Runs that read from PyTorch's own loaders: equal to PyTorch's training, and resumed exactly.

python -m tests.conformance.torch_loaders SITE_PACKAGES ...

It runs with explorer's own Python; the folders are those that torch and torchdata are in.
"""

import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

STEPS, STOPPED, BATCH, RATE = 12, 5, 4, 0.1
_LIMIT = 1e-5  # of weights about as large as 1


def dataset() -> Any:
    """Return 64 examples of torch tensors, by name."""
    import torch

    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=drawn)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3
    return [{"x": x[row], "y": y[row]} for row in range(len(x))]


def loader(kind: Any, **options: Any) -> Any:
    """Return a loader that shuffles, in the same order every time."""
    import torch

    order = torch.Generator().manual_seed(1)
    return kind(dataset(), batch_size=BATCH, shuffle=True, generator=order, **options)


def trained(batches: Any, folder: Path, steps: int = STEPS) -> np.ndarray:
    """Return the kernel and the bias after some steps of explorer, resumed where there are some."""
    import jax
    import jax.numpy as jnp
    import optax

    from explorer.training import Checkpoints, Trainer, fit

    def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
        missed = batch["x"] @ params["kernel"] + params["bias"] - batch["y"]
        return jnp.square(missed).mean()

    trainer = Trainer(None, loss_fn, optax.sgd(RATE, momentum=0.9))
    first = {"kernel": jnp.zeros((3, 1)), "bias": jnp.zeros(1)}
    state = trainer.init_from(first, jax.random.key(0))
    with Checkpoints(folder, every=100) as checkpoints:
        if checkpoints.steps():
            saved = checkpoints.restore(state, batches=batches)
            state = state if saved is None else saved.state
        done = fit(trainer, state, batches, steps=steps, checkpoints=checkpoints)
    assert done.stopped == "steps", done.reason
    return np.concatenate([np.ravel(done.state.params[k]) for k in ("kernel", "bias")])


def trained_by_torch(batches: Any) -> np.ndarray:
    """Return the same after as many steps of torch."""
    import torch

    layer = torch.nn.Linear(3, 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), RATE, momentum=0.9)
    for _, batch in zip(range(STEPS), batches):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layer(batch["x"]), batch["y"]).backward()
        optimizer.step()
    return np.concatenate([np.ravel(p.detach().numpy()) for p in layer.parameters()])


def same_numbers() -> bool:
    """Return whether tensors of torch become arrays of their numbers, or are refused in one line."""
    import torch

    from explorer.errors import InputError
    from explorer.training.data.loaders import as_arrays

    def arrays(*tensors: Any) -> list[np.ndarray]:
        (found,) = as_arrays(iter([tensors]))
        return list(found)

    numbers = torch.arange(6.0).reshape(2, 3)
    dtypes = (torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool)
    given = [numbers.to(dtype) for dtype in dtypes] + [numbers.T, torch._neg_view(numbers)]
    same = all(
        array.astype("float64").tolist() == tensor.double().tolist()
        and array.dtype.name == str(tensor.dtype).removeprefix("torch.")
        for array, tensor in zip(arrays(*given), given, strict=True)
    )
    for tensor in (numbers.to_sparse(), torch.empty(2, device="meta")):
        try:
            arrays(tensor)
        except InputError as error:
            same &= str(error).startswith("the batch: a tensor of torch of float32")
        else:
            same = False
    return same


def main(folders: list[str]) -> int:
    """Print one line per loader; return 1 if any differs, else 0."""
    sys.path += folders  # last: all that explorer needs is its own
    from torch.utils.data import DataLoader
    from torchdata.stateful_dataloader import StatefulDataLoader

    right = same_numbers()
    wrong = int(not right)
    print(f"{'tensors':32} the same numbers: {right}")
    for name, kind, workers in (
        ("DataLoader", DataLoader, 0),
        ("DataLoader of 2 workers", DataLoader, 2),
        ("StatefulDataLoader", StatefulDataLoader, 0),
        ("StatefulDataLoader of 2 workers", StatefulDataLoader, 2),
    ):
        # JAX has threads, which a forked process would be without
        context = {"multiprocessing_context": "spawn"} if workers else {}
        options = {"num_workers": workers, **context}
        with (
            warnings.catch_warnings(record=True) as caught,
            TemporaryDirectory() as folder,
        ):
            warnings.simplefilter("always")
            found = trained(loader(kind, **options), Path(folder))
        expected = trained_by_torch(loader(kind, **options))
        warned = any("begins its data anew" in str(each.message) for each in caught)
        gap = float(np.abs(found - expected).max())
        line, is_right = f"largest difference {gap:.1e}", gap <= _LIMIT
        if kind is StatefulDataLoader:
            with TemporaryDirectory() as folder:
                trained(loader(kind, **options), Path(folder), STOPPED)
                resumed = trained(loader(kind, **options), Path(folder))
            same = np.array_equal(resumed, found)
            line += f", resumed after {STOPPED} of {STEPS} steps: same bits {same}"
            is_right &= same and not warned
        else:
            line += f", warned that it has no position: {warned}"
            is_right &= warned
        print(f"{name:32} {line}{'' if is_right else '  DIFFERS'}")
        wrong |= not is_right
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
