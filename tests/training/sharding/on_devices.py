"""A run on eight devices of one process: `python -m tests.training.sharding.on_devices`.

It prints what it found as JSON; the test compares that with runs on one device.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.models.small import MultilayerPerceptron
from explorer.recipes import running, settings_of
from explorer.training import Arrays, Epoch, Trainer, evaluate, fit
from explorer.training.sharding.batch_placement import place_batch
from explorer.training.sharding.mesh import make_mesh, shardings_of
from explorer.training.step.evaluation import make_eval_step
from explorer.training.step.state import create_state
from explorer.training.step.train_step import make_train_step
from tests.training import tiny
from tests.training.step import test_weighted

OPTIMIZER = optax.adamw(1e-2)
MIXTURE = tiny.LLAMA | {
    "model_type": "mixtral", "num_hidden_layers": 2, "num_local_experts": 4,
    "num_experts_per_tok": 2, "num_key_value_heads": 4,
}  # fmt: skip


def run(module: Any, loss_fn: Any, batch: Any, mesh: Any, **options: Any) -> dict[str, Any]:
    """Return losses, norms and where tensors are placed, of two steps on a mesh or on none."""
    inputs = jax.tree.leaves(batch)[0][:1]
    state = create_state(module, OPTIMIZER, tiny.KEY, inputs, mesh=mesh)
    born = parts_of(state)
    step = make_train_step(loss_fn, OPTIMIZER, mesh=mesh, **options)
    batch = place_batch(batch, mesh) if mesh else batch
    losses, norms = [], []
    for _ in range(2):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
        norms.append(float(metrics["grad_norm"]))
    sums = [float(np.abs(np.asarray(leaf)).sum()) for leaf in jax.tree.leaves(state.params)]
    return {
        "losses": losses,
        "norms": norms,
        "sums": sums,
        "born": born,
        "kept": parts_of(state),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "gathered": gathered(step.lower(state, batch).compile().as_text()),
        "compiled": step._jitted._cache_size() if mesh else 0,  # pyright: ignore
    }


def runs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what was found of a network and of a transformer, on one device and on eight."""
    network, model = MultilayerPerceptron((16, 8)), tiny.llama(scan=False, layers=1)
    mixture = tiny.mixtral()
    points = (network, tiny.squares(network), tiny.points(16, outputs=8))
    text = (model, tiny.next_token(model), tiny.tokens(16))
    yield "network", run(*points, None)
    yield "data", run(*points, make_mesh(8, 1, 1))
    yield "transformer", run(*text, None)
    yield "fsdp", run(*text, make_mesh(1, 8, 1))
    yield "tensor", run(*text, make_mesh(2, 2, 2), accumulate=2)
    experts = (mixture, tiny.next_token(mixture), tiny.tokens(16))
    yield "mixture", run(*experts, None)
    yield "expert", run(*experts, make_mesh(fsdp=2, expert=4))
    yield "sequence", run(*text, make_mesh(fsdp=2, sequence=4))
    yield "only data", run(*points, jax.make_mesh((8,), ("data",)))
    yield "no tensor", run(*points, jax.make_mesh((2, 4), ("data", "fsdp")))
    yield "only tensor", run(*text, jax.make_mesh((2,), ("tensor",)))


def long_sequences() -> dict[str, Any]:
    """Return a loss, and the temporary bytes of each device, of two long sequences."""
    model, found = tiny.llama(scan=False, layers=1), {}
    batch = np.random.default_rng(0).integers(0, tiny.LLAMA["vocab_size"], (2, 513))
    for name, mesh in (
        ("split", make_mesh(data=2, sequence=4)),
        ("whole", make_mesh(data=2)),
    ):
        step: Any = make_eval_step(tiny.next_token(model), mesh=mesh)
        state = create_state(model, OPTIMIZER, tiny.KEY, batch[:1, :-1], mesh=mesh)
        compiled = step.lower(state, batch).compile()
        bytes_each = compiled.memory_analysis().temp_size_in_bytes
        found[name] = [float(step(state, batch)["loss"]), bytes_each]
    return found


def explicit() -> dict[str, list[float]]:
    """Return losses on meshes of automatic and of explicit axes, set as the current or not."""
    model, found = tiny.llama(scan=False, layers=1), {}
    for name, kind, is_set in (
        ("automatic", AxisType.Auto, False),
        ("explicit", AxisType.Explicit, False),
        ("set", AxisType.Explicit, True),
    ):
        mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(kind,) * 3)
        with jax.set_mesh(mesh) if is_set else nullcontext():
            trainer = Trainer(model, tiny.next_token(model), OPTIMIZER, mesh=mesh)
            state = trainer.init(tiny.KEY, tiny.tokens(16)[:1, :-1])
            batch = jax.device_put(
                tiny.tokens(16), NamedSharding(mesh, PartitionSpec("data"))
            )
            history = trainer.history(state)
            result = fit(trainer, state, iter([batch] * 2), steps=2, history=history)
            evaluated = trainer.eval_step(result.state, batch)
        found[name] = [*history.metric("loss").values, float(evaluated["loss"])]
    return found


def evaluated() -> dict[str, Any]:
    """Return losses of a whole batch on one device and on eight, and who has what of it."""
    network, batch = MultilayerPerceptron((16, 8)), tiny.points(16, outputs=8)
    losses = []
    for mesh in (None, make_mesh(8)):
        state = create_state(network, OPTIMIZER, tiny.KEY, batch[0][:1], mesh=mesh)
        step: Any = make_eval_step(tiny.squares(network), mesh=mesh)
        losses.append(float(step(state, batch)["loss"]))
        compiled = step.lower(state, batch).compile()
    _, shardings = compiled.input_shardings[0]
    parts = [s.shard_shape(x.shape) for s, x in zip(shardings, batch, strict=True)]
    return {"losses": losses, "parts": parts, "sets": sets()}


def sets() -> dict[str, list[float]]:
    """Return losses and gradients' norms over tokens, of a set in batches and of a step."""
    found: dict[str, list[float]] = {}
    for name, mesh in (("one", None), ("eight", make_mesh(data=2, fsdp=4))):
        trainer = Trainer(tiny.LINE, test_weighted.loss_fn, OPTIMIZER, mesh=mesh)
        state = trainer.init(tiny.KEY, test_weighted.X[:1])
        source = Arrays(test_weighted.BATCH)
        found[name] = [
            evaluate(trainer, state, Epoch(source, size))["loss"] for size in (3, 5, 8)
        ]
        _, metrics = trainer.step(state, test_weighted.BATCH)
        found[name] += [float(metrics["loss"]), float(metrics["grad_norm"])]
    return found


def loaded() -> dict[str, bool]:
    """Return whether what is read for a mesh is what is read, and where the rules say."""
    found = {}
    with TemporaryDirectory() as path:
        for name, config in (
            ("dense", tiny.LLAMA | {"num_hidden_layers": 2}),
            ("experts", MIXTURE),
        ):
            folder = Path(path) / name
            folder.mkdir()
            params = ex.build_model(config).init(tiny.KEY, np.zeros((1, 4), int))["params"]
            save_file(ex.to_checkpoint(params, config), folder / "model.safetensors")
            (folder / "config.json").write_text(json.dumps(config))
            for scan in (False, True):
                _, right = ex.load_pretrained(folder, scan=scan)
                for mesh in (make_mesh(2, 2, 2), make_mesh(fsdp=2, expert=4)):
                    _, given = ex.load_pretrained(folder, scan=scan, mesh=mesh)
                    same = jax.tree.map(np.array_equal, given, right)
                    placed = jax.tree.map(lambda leaf: leaf.sharding, given)
                    is_right = placed == shardings_of(right, mesh)
                    split = any(
                        not each.is_fully_replicated for each in jax.tree.leaves(given)
                    )
                    found[f"{name} {scan} {dict(mesh.shape)}"] = (
                        all(jax.tree.leaves(same)) and is_right and split
                    )
    return found


def recipe() -> dict[str, Any]:
    """Return the line that the recipe learns on as many devices as divide its batch."""
    settings = settings_of("linear", ["steps=40", "steps_per_call=20", "batch=100"])
    parts = settings.parts()
    trainer = settings.trainer(parts)
    state = settings.first_state(trainer, parts)
    batches = settings.batches(parts)
    for _ in range(2):
        state, _ = trainer.step(state, next(batches))
    notes = list(running.notes(trainer, state))
    layer = state.params["linear"]
    learned = [layer["kernel"].item(), layer["bias"].item()]
    return {"line": learned, "notes": notes}


def refusals() -> Iterator[str]:
    """Yield what is said of batches that eight devices cannot divide."""
    mesh = make_mesh(8)
    state = tiny.first_state(tiny.LINE, OPTIMIZER, np.ones((1, 1), np.float32), mesh=mesh)
    step = make_train_step(tiny.squares(tiny.LINE), OPTIMIZER, mesh=mesh, accumulate=4)
    evaluate = make_eval_step(tiny.squares(tiny.LINE), mesh=mesh)
    x = np.ones((16, 1), np.float32)
    for call in (
        lambda: place_batch(np.ones((12, 3)), mesh),
        lambda: step(state, (x, x)),
        lambda: evaluate(state, (x[:12], x[:12])),
    ):
        try:
            call()
        except InputError as error:
            yield str(error)


def gathered(program: str) -> int:
    """Return how many floats a compiled program brings to a device, sums excluded."""
    moved = r"= \(?(f32\[.*?) (?:all-gather|all-to-all|collective-permute)\("
    shapes = " ".join(re.findall(moved, program))
    return sum(
        prod(int(size) for size in shape.split(",") if size)
        for shape in re.findall(r"f32\[([\d,]*)\]", shapes)
    )


def parts_of(state: Any) -> dict[str, list[Any]]:
    """Return the whole size of every tensor, and the sizes that devices hold of it."""
    return {
        jax.tree_util.keystr(keys): [
            leaf.size,
            [shard.data.size for shard in leaf.addressable_shards],
        ]
        for keys, leaf in jax.tree_util.tree_flatten_with_path(
            {"params": state.params, "opt_state": state.opt_state}
        )[0]
    }


if __name__ == "__main__":
    found = {
        "evaluated": evaluated(),
        "loaded": loaded(),
        "long": long_sequences(),
        "explicit": explicit(),
        "refusals": list(refusals()),
        "recipe": recipe(),
    }
    json.dump(dict(runs()) | found, sys.stdout)
