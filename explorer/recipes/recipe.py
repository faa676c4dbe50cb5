"""What every recipe has: settings that anyone may change, and the parts of a run."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
import optax
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.training.data.batches import Source
from explorer.training.loop.fit import Evaluate
from explorer.training.step.evaluation import LossFn
from explorer.training.step.state import State

__all__ = ["Count", "Natural", "Parts", "Rate", "Settings"]

# what memory does not do for is said when it is asked for
Count = Annotated[int, msgspec.Meta(ge=1, le=2**20)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1000)]


class Parts(NamedTuple):
    """What is trained, on what, and what is told of it in the end.

    `inputs` are example inputs of the module; `compute_dtype` is as in `make_train_step`;
    `facts` what the data is, as JSON has it, so
    that no run goes on with other data; `conclude` returns the lines of the result from
    the trained parameters.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    source: Source
    evaluate: Evaluate
    tokens: int
    facts: Mapping[str, Any]
    conclude: Callable[[State], tuple[str, ...]]
    compute_dtype: DTypeLike | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings that all recipes share; those of one recipe are added to them.

    `save_every`, `eval_every` and `watch_every` count steps. `steps_per_call` are taken in
    one call, as far as they divide `steps`; a batch is taken apart into `accumulate`
    micro-batches. What the glob `freeze` names is not trained.
    """

    NAME: ClassVar[str] = ""

    seed: Natural = 0
    steps: Natural = 100
    batch: Count = 32
    learning_rate: Rate = 1e-3
    eval_every: Natural = 0
    save_every: Count = 100
    watch_every: Count = 50
    steps_per_call: Count = 1
    accumulate: Count = 1
    freeze: str = ""

    def parts(self) -> Parts:
        """Return the parts of the run that these settings describe.

        Raises:
            InputError: the data is not there, or too short for the settings.
        """
        raise NotImplementedError
