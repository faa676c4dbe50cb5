"""linear: two parameters, the weight a and the bias b of y = a x + b, from noisy points."""

from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax

from explorer.models.small import LinearRegression
from explorer.recipes.recipe import Count, Parts, Rate, Settings
from explorer.training.data.batches import Arrays
from explorer.training.loop.evaluating import Epoch
from explorer.training.step.outcome import Context

__all__ = ["LinearRecipe"]

Coefficient = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
Points = dict[str, np.ndarray]


class LinearRecipe(Settings, frozen=True, kw_only=True):
    """`points` of y = a x + b with normal noise, x between -1 and 1.

    A batch of all points makes gradient descent end where least squares does.
    """

    NAME: ClassVar[str] = "linear"

    a: Coefficient = 2.0
    b: Coefficient = 1.0
    noise: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.1
    points: Count = 200
    steps: Count = 200
    batch: Count = 200
    learning_rate: Rate = 0.5
    watch_every: Count = 10

    def parts(self) -> Parts:
        """Return the parts of the run."""
        module, points = LinearRegression(), draw_points(self)

        def loss_fn(params: Any, batch: Any, context: Context) -> jax.Array:
            y = module.apply({"params": params}, batch["x"])
            return jnp.square(y - batch["y"]).mean()

        return Parts(
            module=module,
            inputs=(jax.ShapeDtypeStruct((1, 1), jnp.float32),),
            loss_fn=loss_fn,
            optimizer=optax.sgd(self.learning_rate),
            source=Arrays(points),
            test=Epoch(Arrays(points), self.points),
            tokens=0,
            facts={},
            conclude=lambda state, _: _conclude(state.params, points),
        )


def draw_points(settings: LinearRecipe) -> Points:
    """Return the points [points, 1] that the settings describe, the same every time."""
    rng = np.random.default_rng(settings.seed)
    x = rng.uniform(-1, 1, (settings.points, 1))
    y = settings.a * x + settings.b + settings.noise * rng.normal(size=x.shape)
    return {"x": x.astype(np.float32), "y": y.astype(np.float32)}


def least_squares(points: Points) -> tuple[float, float]:
    """Return the a and b of the line that NumPy fits, in float64."""
    x, y = (points[name][:, 0].astype(np.float64) for name in "xy")
    columns = np.stack([x, np.ones_like(x)], 1)
    a, b = np.linalg.lstsq(columns, y)[0]
    return float(a), float(b)


def _conclude(params: Any, points: Points) -> tuple[str, ...]:
    layer = params["linear"]
    learned = (layer["kernel"].item(), layer["bias"].item())
    fitted = least_squares(points)
    difference = max(abs(one - other) for one, other in zip(learned, fitted, strict=True))
    return (
        "learned        y = {:.6f} x + {:.6f}".format(*learned),
        "least squares  y = {:.6f} x + {:.6f}".format(*fitted),
        f"difference     {difference:.1e}",
    )
