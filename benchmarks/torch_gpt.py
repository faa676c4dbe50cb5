"""Tokens a second of explorer's training step and of PyTorch's, for the same small GPT.

All start from the same weights and train on the same batches with the same AdamW, in
float32 on two threads: explorer with one step a call and with 25 (`steps_per_call`), PyTorch
eager and through torch.compile. Each runs in a process of its own and they take turns, so that
other load of the machine affects all of them equally; figures are medians. PyTorch may be
installed in another environment: name its interpreter as an argument or in TORCH_PYTHON. The
losses are compared step by step, which shows that the work is the same.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = {
    "model_type": "gpt2",
    "n_embd": 256,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 128,
    "vocab_size": 96,
}
BATCH, LENGTH, THREADS = 8, 128, 2
RATE, DECAY = 3e-4, 1e-4
MISSING = (
    "PyTorch is not installed: pip install torch numpy, here or in an environment whose "
    "interpreter TORCH_PYTHON names"
)
TOGETHER = 25
TITLES = {
    "explorer": "explorer, one step a call",
    "kept": "the same, keep_freed_memory",
    "together": f"explorer, {TOGETHER} steps a call",
    "eager": "PyTorch, eager",
    "compiled": "PyTorch, torch.compile",
}
Config = Mapping[str, Any]
Run = Callable[[Any], Any]


def explorer_run(
    config: Config,
    *,
    dtype: Any = None,
    steps_per_call: int = 1,
    model: Mapping[str, Any] | None = None,
) -> tuple[Run, dict[str, np.ndarray]]:
    """Return a function that takes steps and returns their loss, and the initial weights.

    `model` holds fields of the Transformer; the batches of several steps are stacked.
    """
    import jax
    import jax.numpy as jnp
    import optax

    from explorer.architectures.families import architecture_of
    from explorer.models.transformer import Transformer
    from explorer.training.step.state import create_state
    from explorer.training.step.train_step import make_train_step

    module = Transformer(architecture_of(config), **model or {})
    optimizer = optax.adamw(RATE, weight_decay=DECAY)

    def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
        logits = module.apply({"params": params}, batch[:, :-1]).logits  # pyright: ignore
        logits = logits.astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()

    ids = jax.ShapeDtypeStruct((1, config["n_positions"]), jnp.int32)
    kept = [create_state(module, optimizer, jax.random.key(0), ids)]
    step = make_train_step(
        loss_fn, optimizer, compute_dtype=dtype, steps_per_call=steps_per_call
    )
    leaves = jax.tree_util.tree_flatten_with_path(kept[0].params)[0]
    weights = {"/".join(key.key for key in path): np.array(leaf) for path, leaf in leaves}

    def run(batch: Any) -> jax.Array:
        kept[0], metrics = step(kept[0], batch)
        return metrics["loss"]

    return run, weights


def torch_run(
    config: Config,
    weights: Mapping[str, np.ndarray],
    *,
    compiled: bool,
    device: str = "cpu",
    bfloat16: bool = False,
) -> tuple[Run, int]:
    """Return the same in PyTorch, from the same weights, and its number of parameters.

    It is written the way PyTorch is fastest: queries, keys and values in one product, its own
    causal attention, the fused AdamW.
    """
    import torch  # pyright: ignore[reportMissingImports]

    params = {
        name: torch.nn.Parameter(torch.tensor(values, device=device))
        for name, values in _joined(weights, config["n_layer"]).items()
    }
    optimizer = torch.optim.AdamW(
        list(params.values()), lr=RATE, weight_decay=DECAY, fused=True
    )

    def loss_fn(batch: Any) -> Any:
        cast = {k: v.bfloat16() for k, v in params.items()} if bfloat16 else params
        logits = torch_logits(config, cast, batch[:, :-1])
        targets = batch[:, 1:].flatten()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets)

    called = torch.compile(loss_fn, dynamic=False) if compiled else loss_fn

    def run(batch: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = called(batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run, sum(each.numel() for each in params.values())


def torch_logits(config: Config, p: Mapping[str, Any], ids: Any) -> Any:
    """Return the logits of GPT-2 in PyTorch; kernels are [inputs, outputs]."""
    from torch.nn import functional as F  # noqa: N812  # pyright: ignore[reportMissingImports]

    batch, length = ids.shape
    size, heads = config["n_embd"], config["n_head"]

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, (size,), p[f"{name}/scale"], p[f"{name}/bias"])

    def linear(x: Any, name: str) -> Any:
        return F.linear(x, p[f"{name}/kernel"].T, p[f"{name}/bias"])

    x = F.embedding(ids, p["embed/embedding"]) + p["position_embed/embedding"][:length]
    for number in range(config["n_layer"]):
        layer = f"layers_{number}"
        joined = linear(norm(x, f"{layer}/attention_norm"), f"{layer}/attention/joined")
        split = joined.view(batch, length, 3, heads, size // heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*split.unbind(), is_causal=True)
        seen = seen.transpose(1, 2).reshape(batch, length, size)
        x = x + linear(seen, f"{layer}/attention/out")
        inner = linear(norm(x, f"{layer}/mlp_norm"), f"{layer}/mlp/up_proj")
        x = x + linear(F.gelu(inner, approximate="tanh"), f"{layer}/mlp/down_proj")
    return F.linear(norm(x, "final_norm"), p["embed/embedding"])


def _joined(weights: Mapping[str, np.ndarray], layers: int) -> dict[str, np.ndarray]:
    """Return the weights with query, key and value kernels of each layer concatenated."""
    kept = dict(weights)
    for number in range(layers):
        for kind in ("kernel", "bias"):
            place = f"layers_{number}/attention"
            parts = [kept.pop(f"{place}/{n}/{kind}") for n in ("query", "key", "value")]
            kept[f"{place}/joined/{kind}"] = np.concatenate(parts, -1)
    return kept


def work(side: str, file: Path) -> None:
    """Run one side: answer each line, a number of calls, with their times and losses."""
    run: Run
    count = TOGETHER if side == "together" else 1
    if side in ("explorer", "kept", "together"):
        import jax

        from explorer.training import keep_freed_memory

        if side == "kept":
            keep_freed_memory()
        run, weights = explorer_run(CONFIG, steps_per_call=count)
        np.savez(file, **weights)  # pyright: ignore[reportArgumentType]
        size, wait = sum(each.size for each in weights.values()), jax.block_until_ready
        place: Run = jax.numpy.asarray
    else:
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(THREADS)
        run, size = torch_run(CONFIG, dict(np.load(file)), compiled=side == "compiled")
        wait, place = (lambda loss: loss), torch.tensor
    drawn = np.random.default_rng(0).integers(0, 96, (2 * TOGETHER, BATCH, LENGTH + 1))
    if count > 1:
        drawn = drawn.reshape(-1, count, BATCH, LENGTH + 1)
    batches = [place(batch) for batch in drawn]
    print(json.dumps(size), flush=True)
    taken = 0
    for line in sys.stdin:
        times, losses = [], []
        for _ in range(int(line)):
            start = time.perf_counter()
            loss = wait(run(batches[taken % len(batches)]))
            times.append((time.perf_counter() - start) / count)
            losses += np.ravel(loss).tolist()
            taken += 1
        print(json.dumps([times, losses]), flush=True)


@contextmanager
def worker(python: str, side: str, file: Path) -> Iterator[tuple[int, Run]]:
    """Start a side; yield its number of parameters and a function that makes it take steps."""
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        [python, __file__, "--side", side, "--file", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if side == "compiled" else None,
        text=True,
        env=environment,
        preexec_fn=_on_two_cores,
    ) as process:

        def read() -> Any:
            line = process.stdout.readline()  # pyright: ignore
            if not line:
                raise EOFError(side)
            return json.loads(line)

        def ask(steps: int) -> Any:
            print(steps, file=process.stdin, flush=True)
            return read()

        yield read(), ask
        process.stdin.close()  # pyright: ignore


def _on_two_cores() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def measure(python: str, rounds: int, steps: int) -> dict[str, list[float]]:
    """Return the step times of each side, after checking that all sides agree."""
    times: dict[str, list[float]] = {}
    asks: dict[str, Run] = {}
    sizes: dict[str, int] = {}
    first: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for side in TITLES:
            interpreter = python if side in ("eager", "compiled") else sys.executable
            file = Path(folder) / "weights.npz"
            try:
                sizes[side], ask = stack.enter_context(worker(interpreter, side, file))
                first[side] = np.array(ask(1 if side == "together" else 5)[1])[:5]
            except EOFError:
                if side != "compiled":
                    raise
                print("torch.compile does not work here (it needs a C++ compiler)")
            else:
                asks[side], times[side] = ask, []
        for _ in range(rounds):
            for side, ask in asks.items():
                calls = max(1, steps // TOGETHER) if side == "together" else steps
                times[side] += ask(calls + 1)[0][1:]  # the first one starts the threads
    difference = max(
        float(np.abs(losses - first["explorer"]).max()) for losses in first.values()
    )
    assert len(set(sizes.values())) == 1, f"different models: {sizes}"
    assert difference < 1e-4, f"different losses: {first}"
    losses = ", ".join(f"{loss:.4f}" for loss in first["explorer"])
    print(
        f"GPT of {sizes['explorer']:,} parameters, {BATCH} x {LENGTH} tokens, float32, "
        f"{THREADS} threads, {rounds * steps} steps each\n"
        f"  losses of the first steps {losses}, largest difference {difference:.0e}"
    )
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("TORCH_PYTHON", sys.executable)
    parser.add_argument("python", nargs="?", default=default, help="with PyTorch")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25, help="of a side in its turn")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        work(options.side, options.file)
        return
    from timing import report

    if not has_torch(options.python):
        print(MISSING)
        return
    times = measure(options.python, options.rounds, options.steps)
    found = {side: statistics.median(each) for side, each in times.items()}
    for side, seconds in found.items():
        print(f"  {TITLES[side]:28}{BATCH * LENGTH / seconds:>10,.0f} tokens/s")
    for side in ("eager", "compiled"):
        for ours in ("explorer", "kept", "together"):
            title = f"{TITLES[ours]}, against {TITLES[side]}"
            report(title, found[ours], TITLES[side], found[side], goal="at least 1.0x")


def has_torch(python: str) -> bool:
    """Return whether an interpreter can import PyTorch."""
    try:
        done = subprocess.run([python, "-c", "import torch, numpy"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()
