"""lora: adapters of a pretrained model, trained on real text and written as peft has them."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax

from explorer.api.adapters import add_lora, save_lora
from explorer.api.quantising import quantize
from explorer.errors import InputError
from explorer.pretrained.loading import gguf_of, load_pretrained
from explorer.pretrained.tokens import text_tokens
from explorer.recipes.pretrained_text import encode, neighbours, text_of, tokenizer_of
from explorer.recipes.recipe import Count, Parts, Rate, Settings
from explorer.training.data.batches import Arrays, Windows
from explorer.training.loop.evaluating import Epoch
from explorer.training.loop.fit import Evaluate
from explorer.training.step.outcome import Context
from explorer.training.step.state import TrainState
from explorer.transforms.adapters.applying import apply_lora
from explorer.transforms.adapters.trees import is_quantized
from explorer.transforms.records import Change
from explorer.tree.walk import names_of
from explorer.views.adapters import trainable_line

__all__ = ["LoraRecipe"]

_TEMPERATURE = 0.05
_TESTED = 512  # examples of the test at most
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**20)]


class LoraRecipe(Settings, frozen=True, kw_only=True):
    """Adapters of rank `rank` for the model in the folder `base`.

    A causal model learns to predict the next token; an encoder to find, among the batch, the
    sentence that follows another one (`length` tokens of each are seen). The text is that of
    Python's documentation, or of the file `text`; `characters` of it are read. `quantize` is a
    scheme in which the kernels of the base are kept, such as nf4 or q8_0 (QLoRA): each layer
    is dequantised where it is used, and gradients flow to the adapters alone.
    """

    NAME: ClassVar[str] = "lora"

    base: str = ""
    rank: Positive = 8
    alpha: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 16.0
    targets: str = "q,v"
    variant: Literal["lora", "rslora", "dora"] = "lora"
    quantize: str = ""
    text: str = ""
    characters: Annotated[int, msgspec.Meta(ge=1000, le=10**8)] = 2_000_000
    length: Annotated[int, msgspec.Meta(ge=4, le=8192)] = 64
    steps: Count = 100
    batch: Count = 32
    learning_rate: Rate = 5e-4
    eval_every: int = 0
    save_every: Count = 100

    def parts(self) -> Parts:
        """Return the parts of the run.

        Raises:
            InputError: no base, one that cannot be read, or too little text.
        """
        if not self.base:
            raise InputError(
                self.NAME,
                found="no base model",
                expected="--set base=FOLDER, with weights, config.json and tokenizer.json",
            )
        module, params = load_pretrained(self.base, scan=True, dtype="float32")
        if self.quantize:
            params = _quantised(params, self.quantize)
        params = jax.device_put(params)
        targets = tuple(filter(None, self.targets.split(",")))
        adapters, change = add_lora(
            params,
            self.rank,
            targets,
            alpha=self.alpha,
            variant=self.variant,
            rng=jax.random.key(self.seed),
            model=module,
        )
        is_causal = module.architecture.tied or module.architecture.lm_head is not None
        make = _next_token if is_causal else _next_sentence
        train, test, forward = make(self)

        def loss_fn(adapters: Any, batch: Any, context: Context) -> Any:
            effective = apply_lora(context.base, adapters, factored=True)
            return forward(module, effective, batch)

        rate = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, max(1, self.steps // 20), self.steps
        )
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate))
        return Parts(
            module=module,
            inputs=(),
            loss_fn=loss_fn,
            optimizer=optimizer,
            source=train,
            test=Epoch(test, self.batch),
            tokens=self.batch * self.length,
            facts={"examples": len(train), "parameters": change.parameters_before},
            conclude=lambda state, evaluate: (
                *_conclude(evaluate, adapters, state),
                *_sizes(self, change, params),
            ),
            base=params,
            params=adapters,
            write=lambda state, folder: _write(self, module, state, folder),
        )


def _next_token(settings: LoraRecipe) -> tuple[Any, Any, Any]:
    """Return windows of tokens to train and to test on, and the loss of a batch of them."""
    text = "\n\n".join(text_of(settings.text, settings.characters))
    tokens = np.asarray(
        text_tokens(gguf_of(settings.base) or settings.base, text), np.int32
    )
    tested = len(tokens) // 20
    tested_on = tokens[: min(tested, _TESTED * settings.length + 1)]

    def forward(module: Any, params: Any, batch: jax.Array) -> jax.Array:
        logits = module.apply({"params": params}, batch[:, :-1]).logits
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits.astype(jnp.float32), batch[:, 1:]
        )
        return losses.mean()

    train = Windows(tokens[tested:], settings.length, "text")
    return train, Windows(tested_on, settings.length, "text of the test"), forward


def _next_sentence(settings: LoraRecipe) -> tuple[Any, Any, Any]:
    """Return pairs of neighbouring sentences, and the contrastive loss of a batch of them.

    Each sentence is to be nearer to its neighbour than to those of the batch's other pairs.
    """
    pairs = neighbours(text_of(settings.text, settings.characters))
    if len(pairs) < 4 * settings.batch:
        raise InputError(
            settings.NAME,
            found=f"{len(pairs)} pairs of sentences",
            expected=f"{4 * settings.batch}, four batches",
            cure="set more characters, or a smaller batch",
        )
    tokenizer = tokenizer_of(settings.base)
    first, second = (
        encode(tokenizer, [pair[side] for pair in pairs], settings.length)
        for side in (0, 1)
    )
    arrays = {"first": first, "second": second}
    # every 10th pair is one of the test: the text of the test is that of all modules
    is_test = np.arange(len(pairs)) % 10 == 0
    rows_of_test = np.flatnonzero(is_test)
    # of whole batches: each sentence is sought among as many
    whole = max(min(len(rows_of_test), _TESTED) // settings.batch, 1) * settings.batch
    tested, trained = (
        Arrays(jax.tree.map(lambda a, rows=rows: a[rows], arrays))
        for rows in (rows_of_test[:whole], ~is_test)
    )

    def forward(module: Any, params: Any, batch: Any) -> tuple[jax.Array, dict[str, Any]]:
        a, b = (_embedded(module, params, batch[side]) for side in ("first", "second"))
        scores = a @ b.T / _TEMPERATURE
        labels = jnp.arange(len(scores))
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
        return losses.mean(), {"found": (scores.argmax(-1) == labels).mean()}

    return trained, tested, forward


def _embedded(module: Any, params: Any, sentences: Any) -> jax.Array:
    """Return the mean of the hidden states of each sentence's tokens, of length 1."""
    mask = sentences["mask"]
    outputs = module.apply({"params": params}, sentences["ids"], attention_mask=mask)
    weights = mask[..., None].astype(outputs.hidden.dtype)
    mean = (outputs.hidden * weights).sum(1) / jnp.maximum(weights.sum(1), 1)
    return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def _conclude(evaluate: Evaluate, adapters: Any, state: TrainState) -> tuple[str, ...]:
    placed = jax.tree.map(lambda leaf: leaf.sharding, state.params)
    first = state.replace(params=jax.device_put(adapters, placed))
    before, after = evaluate(first), evaluate(state)
    return tuple(
        f"test {name}  {float(before[name]):.4f} before, {float(after[name]):.4f} after"
        for name in after
    )


def _quantised(params: Any, scheme: str) -> Any:
    """Return parameters with the kernels of linear layers in a scheme; tables stay floats."""
    quantised, _ = quantize(params, scheme, measure=False)

    def chosen(keys: Any, leaf: Any, before: Any) -> Any:
        return leaf if names_of(keys)[-1] == "kernel" else before

    is_leaf = is_quantized
    return jax.tree_util.tree_map_with_path(chosen, quantised, params, is_leaf=is_leaf)


def _sizes(settings: LoraRecipe, change: Change, params: Any) -> tuple[str, ...]:
    """Return what was trained, and what the base takes that was not."""
    nbytes = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    form = f"float32, kernels in {settings.quantize}" if settings.quantize else "float32"
    plain = 4 * change.parameters_before
    saved = f", {nbytes / plain:.2f}x of all in float32" if settings.quantize else ""
    return (
        trainable_line(change.trainable or 0, change.parameters_after),
        f"base: {change.parameters_before:,} parameters, {nbytes / 1e6:,.1f} MB ({form}){saved}",
    )


def _write(
    settings: LoraRecipe, module: Any, state: TrainState, folder: Path
) -> tuple[str, ...]:
    save_lora(state.params, folder, model=module, base=settings.base)
    return (f"adapters in {folder}: explorer lora merge {settings.base} {folder} -o OUT",)
