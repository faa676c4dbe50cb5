"""A right call of every public function: its arguments by name, made anew for each call."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import explorer as ex
from explorer import testing, training
from tests.arguments.model_calls import MODEL_CALLS, decoder, model_folders

__all__ = ["NOT_CALLED", "RIGHT", "files"]

CONFIG = {
    "model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 6,
    "max_position_embeddings": 8, "tie_word_embeddings": False,
}  # fmt: skip
OPTIMIZER = optax.sgd(0.1)
# records are made by explorer; protocols have no arguments, and keep_freed_memory has none
NOT_CALLED = {"training.Progress", "training.Context", "training.Report", "training.FitResult", "training.TimeSpent",
              "training.Freeze", "training.TrainState", "training.Weighted", "training.keep_freed_memory"}  # fmt: skip


def tree() -> dict[str, Any]:
    """Parameters of one layer."""
    kernel = np.arange(32, dtype=np.float32).reshape(8, 4) - 7
    return {"dense": {"kernel": kernel, "bias": np.ones(4, np.float32)}}


def affine(params: Any, x: Any) -> Any:
    """The layer itself."""
    return x @ params["dense"]["kernel"] + params["dense"]["bias"]


def x() -> Any:
    """Its example input."""
    return np.ones((2, 8), np.float32)


class Line(nn.Module):
    """A module of one layer."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(4, name="dense")(x)


def loss(params: Any, batch: Any, context: Any) -> Any:
    """Mean squared error."""
    return jnp.mean((affine(params, batch[0]) - batch[1]) ** 2)


def batch() -> Any:
    """Inputs and what is expected."""
    return x(), np.ones((2, 4), np.float32)


def adapters() -> Any:
    """Adapters of the layer."""
    return ex.add_lora(tree(), 2, "dense")[0]


def files(folder: Path) -> None:
    """Write the files that the calls name into a folder."""
    tuned = tree()
    tuned["dense"]["kernel"] = tuned["dense"]["kernel"] + 1
    np.savez(folder / "a.npz", **{"dense.kernel": tree()["dense"]["kernel"]})
    np.savez(folder / "b.npz", **{"dense.kernel": tuned["dense"]["kernel"]})
    ex.save(dict(ex.to_checkpoint(decoder()[1], CONFIG)), folder / "llama", config=CONFIG)
    ex.save_lora(adapters(), folder / "adapter")
    lock = ex.explore(tree())
    from explorer.analyses.lock import lock_text

    (folder / "a.lock").write_text(lock_text(lock))
    np.arange(100, dtype=np.uint16).tofile(folder / "tokens.bin")
    with training.JsonlWriter(folder / "history.jsonl") as writer:
        del writer
    os.mkdir(folder / "notes")
    model_folders(folder)


@cache
def trainer() -> Any:
    """A trainer of the layer."""
    return training.Trainer(Line(), loss, OPTIMIZER)


@cache
def first_state() -> Any:
    """Its first state."""
    return trainer().init(jax.random.key(0), x())


def state() -> Any:
    """A copy of its first state, which a step may reuse."""
    return jax.tree.map(jnp.copy, first_state())


def averaging_state() -> Any:
    """A state whose optimizer averages."""
    return training.state_from(
        tree(), training.with_average(OPTIMIZER, 0.9), jax.random.key(0)
    )


def mesh() -> Any:
    """A mesh of one device."""
    return training.make_mesh()


@cache
def change() -> Any:
    """What pruning the layer changed."""
    return ex.prune(tree(), "0.5")


Call = tuple[Callable[..., Any], Callable[[], Mapping[str, Any]]]


def _args(**given: Any) -> Callable[[], dict[str, Any]]:
    """Return a function that makes arguments anew; functions make theirs."""
    makers = (tree, x, adapters, state, trainer, mesh, batch)
    return lambda: {k: v() if v in makers else v for k, v in given.items()}


def _with_inputs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose variable arguments have names."""

    def call(*, first: Any, input: Any = None, other: Any = None, **rest: Any) -> Any:
        inputs = () if input is None else (input,)
        return function(first, *inputs, **rest, **({"other": other} if other else {}))

    return call


RIGHT: dict[str, Call] = {
    "Evaluator": (ex.Evaluator, lambda: {
        "model": decoder()[0], "tokens": np.ones((2, 4), np.int32), "batch": 1, "length": 2}),
    "Lora": (ex.Lora, _args(rank=2, targets=("q",), dtype="float32", dora=False, save=())),
    "Variation": (ex.Variation, _args(layers=1, vocab=8, experts=None, untie=False, prune=None)),
    "Workload": (ex.Workload, _args(
        context=8, batch=1, parallel=1, prompt=2, dtype="float32", kv_dtype="float32",
        quantize=None, engine="jax", train=False, optimizer="adamw")),
    "add_lora": (ex.add_lora, _args(
        params=tree, rank=2, targets="dense", alpha=2.0, variant="lora", rng=None,
        dtype="float32", save=(), model=None, axes=None)),
    "apply_lora": (ex.apply_lora, _args(params=tree, adapters=adapters)),
    "apply_masks": (ex.apply_masks, lambda: {
        "masks": ex.prune_masks(*change()), "optimizer": OPTIMIZER}),
    "audit_roles": (ex.audit_roles, lambda: {
        "roles": ex.trace_roles(affine, tree(), x()), "params": tree(), "optimizer": OPTIMIZER}),
    "build_model": (ex.build_model, lambda: {
        "target": dict(CONFIG), "scan": False, "dtype": None, "param_dtype": None}),
    "check_values": (ex.check_values, _args(target=tree, select="**")),
    "combine": (lambda first, second: ex.combine(first, second), lambda: dict(
        zip(("first", "second"), ex.partition(tree(), _is_bias), strict=True))),
    "combine_models": (ex.combine_models, lambda: {
        "models": [tree(), tree()], "method": "average", "base": None, "weights": [1.0, 2.0],
        "density": 0.5, "scale": 1.0, "seed": 0, "evaluate": None}),
    "compare": (ex.compare, _args(a=tree, b=tree)),
    "count_bytes": (_with_inputs(ex.count_bytes), lambda: {"first": Line(), "input": x()}),
    "count_parameters": (
        _with_inputs(ex.count_parameters), lambda: {"first": Line(), "input": x()}),
    "count_tensors": (_with_inputs(ex.count_tensors), lambda: {"first": Line(), "input": x()}),
    "decay_mask": (ex.decay_mask, _args(params=tree)),
    "dequantize": (ex.dequantize, lambda: {"tree": ex.quantize(tree(), "int8")[0]}),
    "describe": (ex.describe, _args(target=tree, select="**", statistics="all", by="name")),
    "diff": (ex.diff, _args(a="a.npz", b="b.npz", match=None, rtol=0.0, atol=0.0)),
    "digest": (ex.digest, _args(target=tree, select="**", algorithm="xxh3_128")),
    "explore": (_with_inputs(ex.explore), lambda: {
        "first": Line(), "input": x(), "like": None}),
    "extract_lora": (ex.extract_lora, lambda: {
        "tuned": {"dense": {"kernel": np.ones((8, 4), np.float32)}},
        "base": {"dense": {"kernel": np.zeros((8, 4), np.float32)}},
        "rank": 1, "energy": 0.5, "model": None, "axes": None}),
    "factorize": (ex.factorize, _args(
        params=tree, rank=1, energy=None, select="**", evaluate=None)),
    "dot": (ex.dot, lambda: {"inputs": x(), "weights": ex.Quantized.of(
        tree()["dense"]["kernel"], "int8", True)}),
    "gather_moments": (ex.gather_moments, lambda: {
        "module": Line(), "params": tree(), "data": [x()], "hessians": False}),
    "learned": (ex.learned, lambda: {"before": "a.npz", "after": "b.npz", "select": None}),
    "ledger": (_with_inputs(ex.ledger), lambda: {"first": Line(), "input": x()}),
    "load": (ex.load, _args(path="a.npz", select="**")),
    "load_lora": (ex.load_lora, _args(path="adapter", params=tree, model=None)),
    "load_pretrained": (ex.load_pretrained, _args(path="llama", scan=False, dtype=None)),
    "merge_lora": (ex.merge_lora, _args(params=tree, adapters=adapters)),
    "partition": (ex.partition, lambda: {"tree": tree(), "predicate": _is_bias}),
    "plan": (_with_inputs(ex.plan), lambda: {
        "first": dict(CONFIG), "workload": ex.Workload(context=8), "device": None,
        "optimizer": None}),
    "plan settings": (ex.plan, lambda: {
        "target": dict(CONFIG), "context": 8, "batch": 1, "dtype": "float32"}),
    "plan_lora": (ex.plan_lora, lambda: {
        "target": dict(CONFIG), "rank": 2, "targets": ("q",), "variant": "lora",
        "dtype": "float32", "save": ()}),
    "plan_pruning": (ex.plan_pruning, _args(
        target=tree, pattern="0.5", by="magnitude", scope="tensor", select="**")),
    "prune": (ex.prune, _args(
        target=tree, pattern="0.5", by="magnitude", scope="tensor", model=None, data=None,
        gradients=None, select="**", seed=0, evaluate=None)),
    "prune_masks": (ex.prune_masks, lambda: dict(
        zip(("pruned", "change"), change(), strict=True))),
    "quantize": (ex.quantize, _args(
        target=tree, scheme="int8", select="**", measure=True, evaluate=None,
        calibrate=None)),
    "report_roles": (_with_inputs(ex.report_roles), lambda: {
        "first": Line(), "input": x(), "length": None}),
    "save": (ex.save, lambda: {
        "target": tree(), "path": "out.npz", "like": None, "config": None, "format": "npz",
        "names": "source", "dtype": None, "shard_bytes": None, "select": None,
        "progress": None}),
    "save_lora": (ex.save_lora, _args(adapters=adapters, path="out", model=None, base="")),
    "shrink": (ex.shrink, lambda: {
        "model": decoder()[0], "params": decoder()[1], "pattern": "rows:0.25", "by": "magnitude",
        "data": None, "config": dict(CONFIG), "seed": 0}),
    "spectrum": (ex.spectrum, _args(target=tree, select="**", rank=1)),
    "split_weights_biases": (ex.split_weights_biases, _args(params=tree, roles=None)),
    "summarize": (ex.summarize, _args(target=tree, by="component", depth=1)),
    "sweep": (_with_inputs(ex.sweep), lambda: {
        "first": dict(CONFIG), "axes": {"context": [4, 8]}, "workload": None, "device": None,
        "optimizer": None}),
    "to_checkpoint": (ex.to_checkpoint, lambda: {
        "params": decoder()[1], "config": dict(CONFIG)}),
    "trace_roles": (lambda fn, params, input: ex.trace_roles(fn, params, input), lambda: {
        "fn": affine, "params": tree(), "input": x()}),
    "testing.assert_matches_lock": (
        testing.assert_matches_lock, _args(target=tree, path="a.lock")),
    "testing.assert_parameter_count": (testing.assert_parameter_count, _args(
        target=tree, parameters=36, weights=32, biases=4, tensors=2)),
    "testing.compare_with_lock": (testing.compare_with_lock, _args(target=tree, path="a.lock")),
    "testing.differences_text": (testing.differences_text, lambda: {
        "comparison": ex.compare(tree(), tree())}),
}  # fmt: skip


def _is_bias(path: tuple[str, ...], leaf: Any) -> bool:
    return path[-1] == "bias"


RIGHT |= {
    "training.Arrays": (training.Arrays, _args(arrays=batch, place="data")),
    "training.Batches": (training.Batches, lambda: {
        "source": training.Arrays(batch()), "size": 2, "seed": 0, "shuffle": True,
        "steps_per_call": 1, "part": (0, 1), "place": None}),
    "training.Bytes": (lambda text: training.Bytes().encode(text), _args(text="abc")),
    "training.Characters": (training.Characters, _args(text="abc")),
    "training.Checkpoints": (training.Checkpoints, _args(
        folder="run", every=1, keep=2, keep_period=None, best=("loss", "min"), config=None)),
    "training.EarlyStop": (training.EarlyStop, _args(
        patience=1, metric="loss", mode="min", min_delta=0.0)),
    "training.Epoch": (training.Epoch, lambda: {"source": training.Arrays(batch()), "size": 2, "part": (0, 1)}),
    "training.EventWriter": (training.EventWriter, _args(
        folder="events", rows=("a",), columns=("norm",))),
    "training.Freezing": (training.Freezing, _args(globs="**", roles="bias", role_tree=None)),
    "training.History": (training.History, _args(
        rows=("a",), columns=("norm",), run="run", writers=())),
    "training.JsonlWriter": (training.JsonlWriter, _args(
        path="new.jsonl", rows=("a",), columns=("norm",), run="run", after=None)),
    "training.LineProgress": (training.LineProgress, _args(stream=None, live=False)),
    "training.Rule": (training.Rule, _args(
        spec=("data",), role="kernel", component=None, glob=None)),
    "training.Trainer": (training.Trainer, lambda: {
        "model": Line(), "loss_fn": loss, "optimizer": OPTIMIZER, "watch": None,
        "freeze": None, "mesh": None}),
    "training.Trainer.init": (lambda rng, input: trainer().init(rng, input), lambda: {
        "rng": jax.random.key(0), "input": x()}),
    "training.Trainer.step": (lambda state, batch: trainer().step(state, batch), _args(
        state=state, batch=batch)),
    "training.Watch": (training.Watch, _args(every=1, glob="**", distance=False, stacks=None)),
    "training.Windows": (training.Windows, lambda: {
        "tokens": np.arange(20), "length": 4, "place": "tokens"}),
    "training.PackedRows": (training.PackedRows, lambda: {
        "sequences": [[1, 2], [3]], "length": 4, "pad": 0, "place": "sequences"}),
    "training.averaged": (training.averaged, lambda: {"state": averaging_state()}),
    "training.batch_sharding": (training.batch_sharding, _args(mesh=mesh, axis=0)),
    "training.create_state": (
        lambda module, optimizer, rng, input, mesh, rules, watch, param_dtype:
        training.create_state(module, optimizer, rng, input, mesh=mesh, rules=rules,
                              watch=watch, param_dtype=param_dtype),
        lambda: {"module": Line(), "optimizer": OPTIMIZER, "rng": jax.random.key(0),
                 "input": x(), "mesh": None, "rules": None, "watch": None,
                 "param_dtype": None}),
    "training.evaluate": (training.evaluate, lambda: {
        "trainer": trainer(), "state": state(), "batches": [batch()]}),
    "training.fit": (training.fit, lambda: {
        "trainer": trainer(), "state": state(), "batches": [batch()], "steps": 1,
        "evaluate": None, "eval_every": 0, "early_stop": None,
        "checkpoints": None, "history": None}),
    "training.freeze": (training.freeze, _args(
        optimizer=OPTIMIZER, params=tree, roles="bias", globs=(), role_tree=None)),
    "training.library_text": (training.library_text, _args(limit=100, folder=None)),
    "training.make_eval_step": (training.make_eval_step, _args(
        loss_fn=loss, compute_dtype=None, mesh=None)),
    "training.make_mesh": (training.make_mesh, _args(
        data=1, fsdp=1, tensor=1, devices=None, expert=1, sequence=1)),
    "training.make_train_step": (training.make_train_step, _args(
        loss_fn=loss, optimizer=OPTIMIZER, accumulate=1, steps_per_call=1, watch=None,
        compute_dtype=None, remat=None, labels=None, donate=True)),
    "training.map_tokens": (training.map_tokens, _args(path="tokens.bin", dtype="uint16")),
    "training.names_of_bad": (training.names_of_bad, lambda: {
        "params": tree(), "bad": np.zeros(2, np.int32)}),
    "training.next_tokens": (training.next_tokens, lambda: {
        "tokens": np.array([[1, 2, 3]]), "segment_ids": np.array([[1, 1, 2]])}),
    "training.place_batch": (training.place_batch, _args(batch=batch, mesh=mesh, axis=0)),
    "training.read_jsonl": (training.read_jsonl, _args(path="history.jsonl")),
    "training.sharded_shapes": (training.sharded_shapes, _args(
        tree=tree, mesh=mesh, rules=None)),
    "training.shardings_of": (training.shardings_of, _args(tree=tree, mesh=mesh, rules=None)),
    "training.state_from": (training.state_from, lambda: {
        "params": tree(), "optimizer": OPTIMIZER, "rng": jax.random.key(0),
        "batch_stats": None, "mesh": None, "rules": None, "watch": None, "param_dtype": None}),
    "training.with_average": (training.with_average, _args(optimizer=OPTIMIZER, decay=0.9)),
    **MODEL_CALLS,
}  # fmt: skip
