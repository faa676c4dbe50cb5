"""Toy models for tutorials and tests."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.specs import LinearSpec
from explorer.models.linear import Linear

__all__ = ["ConvolutionalNetwork", "LinearRegression", "MultilayerPerceptron"]

_lecun = nn.initializers.lecun_normal()


class LinearRegression(nn.Module):
    """y = a x + b with two parameters: the weight a and the bias b.

    >>> import jax, jax.numpy as jnp
    >>> params = LinearRegression().init(jax.random.key(0), jnp.ones((1, 1)))["params"]
    >>> jax.tree.map(jnp.shape, params)
    {'linear': {'bias': (1,), 'kernel': (1, 1)}}
    """

    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return y [batch, 1] for x [batch, 1]."""
        return _dense(1, self.param_dtype, "linear", x)


class MultilayerPerceptron(nn.Module):
    """Linear layers with ReLU between them; `features` are their output sizes.

    >>> import jax, jax.numpy as jnp
    >>> image = jnp.ones((1, 28, 28))
    >>> params = MultilayerPerceptron((128, 10)).init(jax.random.key(0), image)["params"]
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    101770
    """

    features: tuple[int, ...] = (128, 10)
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return [batch, features] for [batch, ...], flattening the other axes."""
        x = x.reshape(x.shape[0], -1)
        for index, outputs in enumerate(self.features):
            x = x if index == 0 else nn.relu(x)
            x = _dense(outputs, self.param_dtype, f"layers_{index}", x)
        return x


class ConvolutionalNetwork(nn.Module):
    """3 x 3 convolutions with ReLU, each followed by 2 x 2 mean pooling, and a linear head.

    >>> import jax, jax.numpy as jnp
    >>> image = jnp.ones((1, 28, 28, 1))
    >>> params = ConvolutionalNetwork().init(jax.random.key(0), image)["params"]
    >>> params["conv_1"]["kernel"].shape, params["head"]["kernel"].shape
    ((3, 3, 32, 64), (3136, 10))
    """

    channels: tuple[int, ...] = (32, 64)
    classes: int = 10
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return logits [batch, classes] for images [batch, height, width, channels]."""
        for index, outputs in enumerate(self.channels):
            conv = nn.Conv(
                outputs, (3, 3), param_dtype=self.param_dtype, name=f"conv_{index}"
            )
            x = nn.avg_pool(nn.relu(conv(x)), (2, 2), strides=(2, 2))
        return _dense(self.classes, self.param_dtype, "head", x.reshape(x.shape[0], -1))


def _dense(outputs: int, param_dtype: DTypeLike, name: str, x: jax.Array) -> jax.Array:
    """Return the output of a linear layer with a bias."""
    spec = LinearSpec(x.shape[-1], outputs, bias=True)
    return Linear(spec, param_dtype, kernel_init=_lecun, name=name)(x)
