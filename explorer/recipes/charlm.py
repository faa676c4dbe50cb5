"""charlm: a small GPT that learns to write Python, a character at a time."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
from jax import lax

from explorer.architectures.families import architecture_of
from explorer.errors import InputError
from explorer.models.transformer import Transformer
from explorer.objects.splitting import decay_mask
from explorer.recipes.recipe import Count, Natural, Parts, Rate, Settings
from explorer.training.data.batches import Windows
from explorer.training.data.text import Characters, library_text
from explorer.training.loop.evaluating import Epoch
from explorer.training.step.outcome import Context
from explorer.training.step.state import TrainState

__all__ = ["CharLM", "generate"]

# nats a character; guesses at random cost 4.6, by the frequencies of characters 3.1
_GOAL = 1.5
_PROMPT = "def "
_TEST_WINDOWS = 256
_TEMPERATURE = 0.7


class CharLM(Settings, frozen=True, kw_only=True):
    """A transformer of Llama's kind over the characters of Python's own library.

    `length` characters are seen at once; `characters` of text are read, a twentieth of
    them kept for the test; `sample` are written in the end. `dtype` is computed in.
    """

    NAME: ClassVar[str] = "charlm"

    width: Annotated[int, msgspec.Meta(ge=8, le=8192, multiple_of=8)] = 128
    layers: Annotated[int, msgspec.Meta(ge=1, le=128)] = 4
    heads: Annotated[int, msgspec.Meta(ge=1, le=128)] = 4
    length: Annotated[int, msgspec.Meta(ge=8, le=8192)] = 128
    characters: Annotated[int, msgspec.Meta(ge=1000, le=10**7)] = 2_000_000
    sample: Natural = 400
    dtype: Literal["float32", "bfloat16"] = "float32"
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.1
    steps: Count = 1000
    batch: Count = 8
    learning_rate: Rate = 3e-3
    eval_every: Natural = 250
    save_every: Count = 250
    steps_per_call: Count = 10

    def parts(self) -> Parts:
        """Return the parts of the run.

        Raises:
            InputError: the heads do not divide the width, or the text is too short.
        """
        if self.width % (2 * self.heads):
            raise InputError(
                self.NAME,
                found=f"heads={self.heads} of a width of {self.width}",
                expected="heads of an even size: 2 * heads divides the width",
            )
        text = library_text(self.characters)
        tokeniser = Characters(text)
        tokens = tokeniser.encode(text)
        tested = len(tokens) // 20
        train = Windows(tokens[tested:], self.length, "text")
        tested = min(tested, _TEST_WINDOWS * self.length + 1)
        test = Windows(tokens[:tested], self.length, "text of the test")
        module = Transformer(architecture_of(_config(self, tokeniser.size), "charlm"))

        def loss_fn(params: Any, batch: jax.Array, context: Context) -> jax.Array:
            logits = _logits(module, params, batch[:, :-1])
            targets = batch[:, 1:]
            return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

        rate = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, self.steps // 20, self.steps, self.learning_rate / 20
        )
        return Parts(
            module=module,
            inputs=(jax.ShapeDtypeStruct((1, self.length), jnp.int32),),
            loss_fn=loss_fn,
            optimizer=optax.chain(
                optax.clip_by_global_norm(1.0),
                optax.adamw(rate, b2=0.95, weight_decay=self.weight_decay, mask=decay_mask),
            ),
            source=train,
            test=Epoch(test, self.batch),
            tokens=self.batch * self.length,
            facts={"alphabet": tokeniser.alphabet, "text": len(text)},
            conclude=lambda state, evaluate: _conclude(
                self, module, tokeniser, state, evaluate(state)
            ),
            compute_dtype=self.dtype,
        )


def generate(
    module: Transformer,
    params: Any,
    prompt: np.ndarray,
    count: int,
    rng: jax.Array,
    *,
    length: int,
    temperature: float = 1.0,
) -> np.ndarray:
    """Return the tokens that a model puts after a prompt, drawn one after the other.

    Args:
        module: a causal model.
        params: its parameters.
        prompt: tokens, 1 to `length`.
        count: tokens to draw.
        rng: a key; the same one draws the same tokens.
        length: tokens that the model sees at once; what is further back is forgotten.
        temperature: what logits are divided by.

    Raises:
        InputError: the prompt is empty or longer than the model sees.
    """
    if not 0 < len(prompt) <= length:
        raise InputError("prompt", found=f"{len(prompt)} tokens", expected=f"1 to {length}")
    window = np.zeros(length, np.int32)
    window[: len(prompt)] = prompt
    keys = jax.random.split(rng, count)
    start = (jnp.asarray(window), jnp.asarray(len(prompt), jnp.int32))
    return np.asarray(_draw(module, params, start, keys, temperature))


@partial(jax.jit, static_argnums=0)
def _draw(
    module: Transformer, params: Any, start: Any, keys: jax.Array, temperature: float
) -> jax.Array:
    """Return one token a key; a model that is causal ignores what comes after the last."""

    def draw(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        window, filled = carry
        logits = _logits(module, params, window[None])[0, filled - 1]
        token = jax.random.categorical(key, logits / temperature).astype(window.dtype)
        full = filled == window.size
        window = jnp.where(full, jnp.roll(window, -1), window)
        window = window.at[filled - full].set(token)
        return (window, filled + 1 - full), token

    return lax.scan(draw, start, keys)[1]


def _logits(module: Transformer, params: Any, ids: jax.Array) -> jax.Array:
    outputs: Any = module.apply({"params": params}, ids)
    return outputs.logits


def _config(settings: CharLM, vocabulary: int) -> dict[str, Any]:
    """Return the config of the architecture, as Llama's are written."""
    return {
        "model_type": "llama",
        "hidden_size": settings.width,
        "intermediate_size": settings.width * 8 // 3,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "max_position_embeddings": settings.length,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
    }


def _conclude(
    settings: CharLM,
    module: Transformer,
    tokeniser: Characters,
    state: TrainState,
    metrics: Mapping[str, Any],
) -> tuple[str, ...]:
    prompt = tokeniser.encode(_PROMPT)
    drawn = generate(
        module,
        state.params,
        prompt,
        settings.sample,
        jax.random.key(settings.seed),
        length=settings.length,
        temperature=_TEMPERATURE,
    )
    loss = float(metrics["loss"])
    return (
        f"test loss  {loss:.4f} nats a character (goal: at most {_GOAL})",
        "",
        "sample",
        _PROMPT + tokeniser.decode(drawn),
    )
