"""What a transform costs on data: loss, agreement on the next token, divergence, on given tokens."""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorer.errors import InputError, check_type, printable
from explorer.transforms.records import Evaluation
from explorer.tree.types import Array, Params

__all__ = ["Evaluator", "materialised"]


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Sequences of tokens on which a causal language model is measured, before and after.

    Args:
        model: a module of `build_model` or `load_pretrained`; or a function
            `(params, tokens [batch, length]) -> logits [batch, length, vocabulary]`.
        tokens: ids [sequences, length]; each after the first of a sequence is predicted.
        batch: sequences of one call.
        length: where `tokens` is one text without an end, [n]: it is cut into sequences of this.

    Raises:
        InputError: tokens that are not ids, or fewer than two in a sequence.

    >>> uniform = lambda params, tokens: jnp.zeros((*tokens.shape, 8)) + params["bias"]
    >>> evaluator = Evaluator(uniform, np.zeros((2, 5), int))
    >>> round(evaluator.loss({"bias": jnp.zeros(8)}), 4)  # log 8
    2.0794
    >>> evaluator.compare({"bias": jnp.zeros(8)}, {"bias": jnp.zeros(8)}).divergence
    0.0
    """

    model: Any
    tokens: Array
    _: KW_ONLY
    batch: int = 1
    length: int | None = None

    def __post_init__(self) -> None:
        check_type("batch", self.batch, int, "sequences of one call, 1 or more")
        if self.batch < 1:
            raise InputError("batch", found=f"is {self.batch}", expected="1 or more")
        object.__setattr__(self, "tokens", _sequences(self.tokens, self.length))
        if not (callable(self.model) or hasattr(self.model, "apply")):
            check_type(
                "model", self.model, (), "a module, or a function of params and tokens"
            )

    def loss(self, params: Params) -> float:
        """Return the mean negative log-likelihood of a token, in nats.

        Args:
            params: of the model; quantised leaves are dequantised inside the compiled function.
        """
        total = sum(float(self._total(params, part)) for part in self._parts())
        return total / self._predicted

    def compare(self, before: Params, after: Params) -> Evaluation:
        """Return what the model loses when its parameters are changed.

        Args:
            before, after: parameters of the model, each in a form that it takes; quantised
                leaves are dequantised inside the compiled function.
        """
        sums = np.zeros(4)
        for part in self._parts():
            sums += np.asarray(self._sums(before, after, part), np.float64)
        first, second, same, divergence = map(float, sums / self._predicted)
        return Evaluation(
            tokens=self._predicted,
            loss_before=first,
            loss_after=second,
            agreement=same,
            divergence=max(divergence, 0.0),
        )

    @property
    def _predicted(self) -> int:
        sequences, length = self.tokens.shape
        return sequences * (length - 1)

    def _parts(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.tokens), self.batch):
            yield self.tokens[start : start + self.batch]

    def _log_likelihoods(self, params: Params, tokens: jax.Array) -> jax.Array:
        """Return log-probabilities [batch, length - 1, vocabulary] of what follows each token."""
        params = materialised(params)
        if hasattr(self.model, "apply"):
            logits = self.model.apply({"params": params}, tokens)
            logits = getattr(logits, "logits", logits)
        else:
            logits = self.model(params, tokens)
        if logits is None:
            raise InputError(
                "model",
                found="gives no logits",
                expected="a causal language model, which predicts the next token",
            )
        vocabulary, largest = logits.shape[-1], int(self.tokens.max())
        if largest >= vocabulary:
            expected = f"ids below {vocabulary:,}, the model's vocabulary"
            raise InputError("tokens", found=f"holds {largest}", expected=expected)
        return jax.nn.log_softmax(logits[:, :-1].astype(jnp.float32), axis=-1)

    @cached_property
    def _total(self) -> Callable[[Params, Array], jax.Array]:
        @jax.jit
        def total(params: Params, tokens: jax.Array) -> jax.Array:
            return -_of_next(self._log_likelihoods(params, tokens), tokens).sum()

        return total

    @cached_property
    def _sums(self) -> Callable[[Params, Params, Array], jax.Array]:
        @jax.jit
        def sums(before: Params, after: Params, tokens: jax.Array) -> jax.Array:
            first = self._log_likelihoods(before, tokens)
            second = self._log_likelihoods(after, tokens)
            same = first.argmax(-1) == second.argmax(-1)
            divergence = (jnp.exp(first) * (first - second)).sum(-1)
            losses = -_of_next(first, tokens).sum(), -_of_next(second, tokens).sum()
            return jnp.stack([*losses, same.sum(dtype=jnp.float32), divergence.sum()])

        return sums


def materialised(params: Params) -> Params:
    """Return parameters whose quantised leaves are arrays.

    >>> materialised({"bias": 1.0})
    {'bias': 1.0}
    """

    def is_packed(leaf: Any) -> bool:
        return hasattr(leaf, "dequantize")

    def array(leaf: Any) -> Any:
        return leaf.dequantize() if is_packed(leaf) else leaf

    return jax.tree.map(array, params, is_leaf=is_packed)


def _of_next(likelihoods: jax.Array, tokens: jax.Array) -> jax.Array:
    return jnp.take_along_axis(likelihoods, tokens[:, 1:, None], axis=-1)[..., 0]


def _sequences(tokens: Any, length: int | None) -> np.ndarray:
    """Return ids as sequences of one length; what is left of a text at its end is dropped."""
    expected = "ids [sequences, length], or [n] with length="
    if not hasattr(tokens, "shape") and not isinstance(tokens, list | tuple):
        check_type("tokens", tokens, (), expected)
    try:
        ids = np.asarray(tokens)
    except ValueError:
        raise InputError(
            "tokens", found="sequences of unequal length", expected=expected
        ) from None
    if ids.dtype.kind not in "iu":
        found = f"is of {printable(ids.dtype.name, 40)}"
        raise InputError("tokens", found=found, expected=expected)
    if ids.ndim == 1 and length is not None:
        check_type("length", length, int, "tokens of a sequence, 2 or more")
        if length >= 2:
            ids = ids[: len(ids) // length * length].reshape(-1, length)
    if ids.ndim != 2 or ids.shape[0] < 1 or ids.shape[1] < 2:
        found = f"has shape {list(ids.shape)}"
        raise InputError(
            "tokens", found=found, expected=f"{expected}, two in each at least"
        )
    if ids.min() < 0:
        raise InputError("tokens", found=f"holds {ids.min()}", expected="ids of 0 or more")
    return ids
