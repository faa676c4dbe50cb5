"""MiniLM pruned, tuned with adapters and merged by explorer, run by transformers: equal outputs.

python -m tests.conformance.minilm write MINILM FOLDER     with explorer: the folder and its outputs
python -m tests.conformance.minilm check FOLDER            with torch and transformers
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.sentences import SENTENCES

RANK = 4
STEPS = 6
_LIMIT = 1e-5  # of embeddings of length 1


def tuned(folder: Path) -> tuple[Any, Any, Any, list[float]]:
    """Return MiniLM's module, its pruned parameters, them with adapters merged, and the losses.

    Half of each four inputs are zero; adapters of rank 4 then bring the embeddings of sentences
    back to those of the dense model. The zeros of the base are frozen.
    """
    import jax
    import jax.numpy as jnp
    import optax
    from tokenizers import Tokenizer

    import explorer as ex
    from explorer.training import Trainer

    module, params = ex.load_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    ids, mask = (
        np.array([getattr(each, name) for each in encoded])
        for name in ("ids", "attention_mask")
    )
    pruned, _ = ex.prune(params, "2:4", select="layers_*/**/kernel")
    adapters, _ = ex.add_lora(
        pruned, RANK, ("query", "value"), model=module, alpha=2 * RANK
    )
    batch = {"ids": ids, "mask": mask, "wanted": embeddings(module, params, ids, mask)}

    def loss_fn(adapters: Any, batch: Any, context: Any) -> Any:
        tree = ex.apply_lora(context.base, adapters)
        found = embeddings(module, tree, batch["ids"], batch["mask"])
        return 1 - (found * batch["wanted"]).sum(-1).mean()

    trainer = Trainer(module, loss_fn, optax.adam(5e-3), base=pruned)
    state, losses = trainer.init_from(adapters, jax.random.key(1)), []
    for _ in range(STEPS):
        state, metrics = trainer.step(state, jax.tree.map(jnp.asarray, batch))
        losses.append(float(metrics["loss"]))
    merged, _ = ex.merge_lora(pruned, state.params)
    return module, pruned, merged, losses


def embeddings(module: Any, params: Any, ids: Any, mask: Any) -> Any:
    """Return the embeddings of sentences: the mean of their last hidden states, of length 1."""
    import jax.numpy as jnp

    hidden = module.apply({"params": params}, ids, attention_mask=mask).hidden
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def write(minilm: Path, folder: Path) -> int:
    """Write the tuned model and the embeddings it gives; return 0."""
    from tokenizers import Tokenizer

    import explorer as ex

    module, _, merged, losses = tuned(minilm)
    ex.save(merged, folder / "model", like=minilm)
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    ids = np.array([each.ids for each in encoded])
    mask = np.array([each.attention_mask for each in encoded])
    found = np.asarray(embeddings(module, merged, ids, mask))
    np.savez(folder / "outputs.npz", ids=ids, mask=mask, embeddings=found)
    print(f"1 - cosine to the dense model: {losses[0]:.3f} -> {losses[-1]:.3f}")
    return 0


def check(folder: Path) -> int:
    """Print the largest difference; return 1 if it is too large, else 0."""
    import torch
    from transformers import BertModel

    written = np.load(folder / "outputs.npz")
    model: Any = BertModel.from_pretrained(folder / "model", dtype=torch.float32).eval()
    ids, mask = torch.tensor(written["ids"]), torch.tensor(written["mask"])
    with torch.no_grad():
        hidden = model(ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    found = torch.nn.functional.normalize(mean, dim=-1).numpy()
    gap = float(np.abs(found - written["embeddings"]).max())
    print(
        f"{len(SENTENCES)} sentences, largest difference {gap:.1e}{'  DIFFERS' if gap > _LIMIT else ''}"
    )
    return int(gap > _LIMIT)


if __name__ == "__main__":
    verb, *places = sys.argv[1:]
    sys.exit({"write": write, "check": check}[verb](*map(Path, places)))
