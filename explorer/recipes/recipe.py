"""What every recipe has: settings that users change, and the parts of a run."""

from collections.abc import Callable, Mapping
from math import gcd
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import msgspec
import optax
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.training.data.batches import Batches, Source
from explorer.training.loop.evaluating import Epoch, evaluate
from explorer.training.loop.fit import Evaluate
from explorer.training.sharding.mesh import make_mesh
from explorer.training.step.outcome import LossFn
from explorer.training.step.state import TrainState
from explorer.training.trainer import Trainer
from explorer.training.watch.watch import Watch

__all__ = ["Count", "Natural", "Parts", "Rate", "Settings"]

# settings that need too much memory are refused when it is allocated
Count = Annotated[int, msgspec.Meta(ge=1, le=2**20)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1000)]


class Parts(NamedTuple):
    """What is trained, on which data, and how its result is reported.

    `inputs` are example inputs of the module; `compute_dtype` is that of `Trainer`; `facts`
    describe the data as JSON, so that no run is resumed with other data; `test` are batches of
    examples that are not trained on, each once; `conclude` returns the lines of the result from
    the trained state and what evaluates states. `base` is that of `Trainer`, `params` what
    training begins with; None for what the module's `init` draws. `write` writes a result into a
    new folder, and returns further lines.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    source: Source
    test: Epoch
    tokens: int
    facts: Mapping[str, Any]
    conclude: Callable[[TrainState, Evaluate], tuple[str, ...]]
    compute_dtype: DTypeLike | None = None
    base: Any = None
    params: Any = None
    write: Callable[[TrainState, Path], tuple[str, ...]] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings that all recipes share; those of one recipe are added to them.

    `save_every`, `eval_every` and `watch_every` count steps. `steps_per_call` are taken in
    one call, as far as they divide `steps`; a batch is split into `accumulate`
    micro-batches. The parameters that the glob `freeze` matches are not trained.
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
            InputError: the data is missing, or too short for the settings.
        """
        raise NotImplementedError

    def trainer(self, parts: Parts) -> Trainer:
        """Return the trainer of these parts, on as many devices as divide their batches."""
        devices = gcd(jax.device_count(), max(1, self.batch // self.accumulate))
        return Trainer(
            parts.module,
            parts.loss_fn,
            parts.optimizer,
            watch=Watch(every=self.watch_every),
            freeze=self.freeze or None,
            mesh=make_mesh(data=devices) if devices > 1 else None,
            accumulate=self.accumulate,
            steps_per_call=self._steps_per_call,
            compute_dtype=parts.compute_dtype,
            base=parts.base,
        )

    def first_state(self, trainer: Trainer, parts: Parts) -> TrainState:
        """Return the state that the run begins with, drawn from `seed`."""
        if parts.params is not None:
            return trainer.init_from(parts.params, jax.random.key(self.seed))
        return trainer.init(jax.random.key(self.seed), *parts.inputs)

    def batches(self, parts: Parts) -> Batches:
        """Return the batches of the run, as many to a call as the trainer takes."""
        several = self._steps_per_call
        return Batches(parts.source, self.batch, seed=self.seed, steps_per_call=several)

    def evaluation(self, trainer: Trainer, parts: Parts) -> Evaluate:
        """Return what evaluates a state: the metrics over all examples of the test."""
        return lambda state: evaluate(trainer, state, parts.test)

    @property
    def _steps_per_call(self) -> int:
        # a divisor of the steps, so that a call ends with the last one
        return gcd(self.steps_per_call, self.steps)
