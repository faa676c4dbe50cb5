"""digits: scikit-learn's handwritten digits by a multilayer perceptron."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax

from explorer.errors import MissingPackageError
from explorer.models.small import MultilayerPerceptron
from explorer.objects.splitting import decay_mask
from explorer.recipes.recipe import Count, Parts, Settings
from explorer.training.data.batches import Arrays
from explorer.training.data.order import permute
from explorer.training.loop.evaluating import Epoch
from explorer.training.step.outcome import Context

__all__ = ["Digits"]

_GOAL = 0.97


class Digits(Settings, frozen=True, kw_only=True):
    """1,797 images of 8 x 8; a share of them is kept for the test.

    `width` are the outputs of each of `layers` hidden layers.
    """

    NAME: ClassVar[str] = "digits"

    width: Count = 256
    layers: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    test_share: Annotated[float, msgspec.Meta(ge=0.01, le=0.9)] = 0.2
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.1
    steps: Count = 1000
    batch: Count = 64
    eval_every: Count = 200
    save_every: Count = 200

    def parts(self) -> Parts:
        """Return the parts of the run.

        Raises:
            MissingPackageError: scikit-learn, which brings the images, is not installed.
        """
        train, test = _load(self.test_share)
        module = MultilayerPerceptron((*[self.width] * self.layers, 10))

        def loss_fn(params: Any, batch: Any, context: Context) -> tuple[jax.Array, dict]:
            logits: Any = module.apply({"params": params}, batch["image"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["digit"])
            right = (logits.argmax(-1) == batch["digit"]).mean()
            return losses.mean(), {"accuracy": right}

        tested = len(test["digit"])
        rate = optax.cosine_decay_schedule(self.learning_rate, self.steps)
        return Parts(
            module=module,
            inputs=(jax.ShapeDtypeStruct((1, 8, 8), jnp.float32),),
            loss_fn=loss_fn,
            optimizer=optax.adamw(rate, weight_decay=self.weight_decay, mask=decay_mask),
            source=Arrays(train),
            test=Epoch(Arrays(test), tested),
            tokens=0,
            facts={"images": len(train["digit"]) + tested},
            conclude=lambda state, evaluate: _conclude(evaluate(state), tested),
        )


def _load(test_share: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the images for training and those for the test, always the same ones."""
    try:
        from sklearn.datasets import load_digits  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingPackageError(
            "digits",
            found="needs scikit-learn, which is not installed",
            cure="pip install -e '.[recipes]' in the repository",
        ) from None
    images, digits = load_digits(return_X_y=True)
    order = permute(np.arange(len(digits)), len(digits), seed=0, epoch=0)
    pixels = (images[order] / 16).reshape(-1, 8, 8).astype(np.float32)
    whole = {"image": pixels, "digit": digits[order].astype(np.int32)}
    tested = round(test_share * len(digits))
    train, test = (
        {name: array[part] for name, array in whole.items()}
        for part in (slice(tested, None), slice(tested))
    )
    return train, test


def _conclude(metrics: Mapping[str, Any], images: int) -> tuple[str, ...]:
    accuracy = float(metrics["accuracy"])
    return (f"test accuracy  {accuracy:.2%} of {images} images (goal: {_GOAL:.0%})",)
