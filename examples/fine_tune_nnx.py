"""Fine-tune a model of NNX from its file: what reads the digits 0 to 4 learns to read 5 to 9.

The digits are scikit-learn's, handwritten. Adapters beside the kernels and a new head are
trained, 1,349 parameters; what was loaded stays as it is. Needs the extra "recipes".
"""

import tempfile
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import explorer as ex
from explorer.training import Arrays, Batches, Trainer, fit


class Reader(nnx.Module):
    """Says which of five digits an image shows; with a rank, kernels have adapters."""

    def __init__(self, rank: int = 0, *, rngs: nnx.Rngs):
        layer = partial(nnx.LoRALinear, lora_rank=rank) if rank else nnx.Linear
        self.layers = nnx.List([layer(64, 64, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(64, 5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.head(x)


def loss_fn(reader: Reader, batch: dict, context) -> tuple[jax.Array, dict]:
    """Return the cross-entropy, and how many digits are read right."""
    logits = reader(batch["image"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["digit"])
    return losses.mean(), {"right": (logits.argmax(-1) == batch["digit"]).mean()}


images, digits = load_digits(return_X_y=True)
held_out = np.arange(len(digits)) % 4 == 0


def examples(digit_of_0: int, which: np.ndarray) -> dict[str, np.ndarray]:
    """Return images of five digits, which are numbered from this one."""
    which = which & (digits // 5 == digit_of_0 // 5)
    image, digit = images[which] / 16, digits[which] - digit_of_0
    return {"image": image.astype(np.float32), "digit": digit}


# a file of a model's own weights
first = Trainer(Reader, loss_fn, optax.adamw(3e-3))
batches = Batches(Arrays(examples(0, ~held_out)), 64)
state = fit(first, first.init(jax.random.key(0)), batches, steps=200).state
print(f"0 to 4: {first.eval_step(state, examples(0, held_out))['right']:.1%} read right")
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "reader.safetensors"
    ex.save(first.module(state), file)
    loaded = jax.tree.map(np.array, ex.load(file))

# from here on: fine-tuning
tuner = Trainer(
    partial(Reader, 4),
    loss_fn,
    optax.adamw(1e-2),
    freeze=("layers/*/kernel", "layers/*/bias"),
)
fresh = ("layers/*/lora/**", "head/**")
state = tuner.init(jax.random.key(1), params=loaded, fresh=fresh)
test = examples(5, held_out)
before = tuner.eval_step(state, test)
batches = Batches(Arrays(examples(5, ~held_out)), 64)
state = fit(tuner, state, batches, steps=200).state
after = tuner.eval_step(state, test)
for when, metrics in (("before", before), ("after", after)):
    print(f"5 to 9 {when}: {metrics['right']:.1%} of {len(test['digit'])} read right")

reader = tuner.module(state)  # a module again
for layer, kept in zip(reader.layers, loaded["layers"].values(), strict=True):
    np.testing.assert_array_equal(layer.kernel[...], kept["kernel"])
print(reader(test["image"][:8]).argmax(-1) + 5, "are", test["digit"][:8] + 5)
assert after["right"] > before["right"]
