"""How long a training step compiles with every parameter watched, over one without.

    python benchmarks/watch_compile.py

The layers are unrolled, so that the compiler meets each one. Each compilation is of a process that
has compiled none; processor time is counted, which other load of the machine changes less.
"""

import subprocess
import sys
import time

LAYERS = (6, 24)
_CONFIG = {
    "model_type": "gpt2", "n_embd": 256, "n_head": 8, "n_positions": 128, "vocab_size": 1000,
}  # fmt: skip


def seconds(layers: int, watched: bool) -> float:
    """Return the processor time of compiling one step, in this process."""
    import jax
    import jax.numpy as jnp
    import optax

    import explorer as ex
    from explorer.training import Watch, create_state, make_train_step

    model = ex.build_model({**_CONFIG, "n_layer": layers})
    batch = jnp.zeros((4, 129), int)

    def loss_fn(params, batch, context):
        logits = model.apply({"params": params}, batch[:, :-1]).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()

    watch, optimizer = (Watch(every=50) if watched else None), optax.adamw(3e-4)
    state = create_state(model, optimizer, jax.random.key(0), batch[:, :-1], watch=watch)
    step = make_train_step(loss_fn, optimizer, watch=watch)
    start = time.process_time()
    jax.block_until_ready(step(state, batch))
    return time.process_time() - start


def main() -> None:
    """Print the seconds, and the ratio."""
    for layers in LAYERS:
        plain, watched = (measured(layers, watched) for watched in (False, True))
        print(
            f"{layers} unrolled layers: {plain:.1f} s, watched {watched:.1f} s, "
            f"{watched / plain:.2f}x its time"
        )


def measured(layers: int, watched: bool) -> float:
    """Return the least seconds of three processes."""
    command = [sys.executable, __file__, str(layers), str(int(watched))]
    return min(float(subprocess.check_output(command)) for _ in range(3))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(seconds(int(sys.argv[1]), sys.argv[2] == "1"))
    else:
        main()
