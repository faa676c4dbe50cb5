"""A step of adapters against one of full fine-tuning: time, and XLA's own sum of its memory.

All train one Llama on the same batches with AdamW in float32; calls are interleaved, each figure is
a median. Memory is what the compiled step holds at once: arguments (base, state, batch), what it
returns beside donated arguments, and temporaries. "Effective" forms W + scale A B for all layers
first; "factored" computes x W + scale (x A) B; of a quantised base each layer is dequantised where
it is used.

    python benchmarks/lora_step.py [rounds] [layers] [batch] [length]
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import explorer as ex
from explorer.training import Trainer

GIVEN = [int(word) for word in sys.argv[1:]]
ROUNDS, LAYERS, BATCH, LENGTH = (*GIVEN, *(7, 8, 2, 64)[len(GIVEN) :])
CONFIG = {
    "model_type": "llama", "vocab_size": 4096, "hidden_size": 512, "intermediate_size": 1408,
    "num_hidden_layers": LAYERS, "num_attention_heads": 8, "max_position_embeddings": 512,
}  # fmt: skip
FULL = "full fine-tuning"
Run = Callable[[Any], object]


def loss_of(module: Any, params: Any, ids: Any) -> jax.Array:
    """Return the mean cross-entropy of the next token."""
    logits = module.apply({"params": params}, ids[:, :-1]).logits
    return optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]).mean()


def memory_of(compiled: Any) -> int:
    """Return the bytes that a compiled step holds at once."""
    found = compiled.memory_analysis()
    sizes = found.argument_size_in_bytes + found.temp_size_in_bytes
    return sizes + found.output_size_in_bytes - found.alias_size_in_bytes


def made() -> dict[str, tuple[Trainer, Any]]:
    """Return a trainer and its first state of each way to train."""
    module = ex.build_model(CONFIG, scan=True)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8), int))["params"]
    adapters, change = ex.add_lora(params, 8, "all-linear", alpha=16, model=module)
    print(
        f"{change.parameters_before:,} parameters, {change.trainable:,} of rank-8 adapters"
    )

    def full(params: Any, batch: Any, context: Any) -> jax.Array:
        return loss_of(module, params, batch)

    def of_adapters(factored: bool) -> Any:
        def loss_fn(adapters: Any, batch: Any, context: Any) -> jax.Array:
            used = ex.apply_lora(context.base, adapters, factored=factored)
            return loss_of(module, used if factored else ex.dequantize(used), batch)

        return loss_fn

    key, optimizer = jax.random.key(1), optax.adamw(1e-4)
    trainer = Trainer(None, full, optimizer)
    found = {FULL: (trainer, trainer.init_from(params, key))}
    bases = {"LoRA": params}
    for scheme in ("nf4", "q8_0"):
        quantised, _ = ex.quantize(params, scheme, "**/kernel", measure=False)
        bases[f"QLoRA {scheme}"] = jax.device_put(quantised)
    for name, base in bases.items():
        for way in ("effective", "factored") if name != "QLoRA q8_0" else ("factored",):
            trainer = Trainer(None, of_adapters(way == "factored"), optimizer, base=base)
            found[f"{name}, {way}"] = trainer, trainer.init_from(adapters, key)
    return found


def main() -> None:
    batch = jax.random.randint(jax.random.key(2), (BATCH, LENGTH + 1), 0, 4096)
    ways = made()
    steps = {
        n: each.step.lower(state, batch).compile() for n, (each, state) in ways.items()
    }
    memory = {name: memory_of(compiled) for name, compiled in steps.items()}
    states = {name: state for name, (_, state) in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, (trainer, _) in ways.items():
            base = () if trainer.base is None else (trainer.base,)
            start = time.perf_counter()
            states[name], metrics = steps[name](states[name], batch, *base)
            jax.block_until_ready(metrics)
            if number:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    device = f"{jax.devices()[0].device_kind} ({platform.machine()})"
    print(f"{LAYERS} layers, {BATCH} x {LENGTH} tokens, {device}, {ROUNDS} rounds in turns")
    whole = statistics.median(times[FULL])
    for name, took in times.items():
        pairs = zip(took, times[FULL], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        print(
            f"{name:22} {statistics.median(took):8.4f} s {ratio:5.2f}x its time   "
            f"{memory[name] / 1e6:8.1f} MB {memory[name] / memory[FULL]:5.2f}x its memory"
        )
    print(f"(against {FULL}: {whole:.4f} s, {memory[FULL] / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
