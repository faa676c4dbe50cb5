"""The names that pickles of JAX's ecosystem use, and the stand-in for each.

Arrays become NumPy's records, FrozenDicts dicts. The states of optax and the Variables of NNX
keep their class, which says what is in them: optimizer state, parameters, running statistics.
Nothing that is named here is imported or run.
"""

from collections.abc import Callable
from typing import NamedTuple

from explorer import dtypes
from explorer.errors import printable
from explorer.formats.pytorch.machine import BrokenError, Global, Instance
from explorer.formats.pytorch.plain_names import PickledArray

__all__ = ["Content", "content_of", "find_jax"]

# Fields of optax's NamedTuples (0.2.8), whose pickles hold values without names
_OPTAX = """
AccumulateAvgUpdatesState micro_step ready avg_grad
AddNoiseState count rng_key
ApplyEvery count grad_acc
ApplyIfFiniteState notfinite_count last_finite total_notfinite inner_state
ConditionallyMaskState step inner_state
ConditionallyTransformState inner_state step
DoGState is_init_step init_params max_dist sum_sq_norm_grads
EmaState count ema
FactoredState count v_row v_col v
GaLoreState count base_optimizer_state projector
HutchinsonState key
InjectHyperparamsState count hyperparams inner_state
InjectStatefulHyperparamsState count hyperparams hyperparams_states inner_state
LookaheadParams fast slow
LookaheadState fast_state steps_since_sync
MadgradState count grad_sum_sq s x0
MaskedState inner_state
MechanicState base_optimizer_state count r m v s x0
MultiStepsState mini_step gradient_step inner_opt_state acc_grads skip_state
MultiTransformState inner_states
MuonState count mu ns_coeffs
PartitionState inner_states
ProdigyState exp_avg exp_avg_sq grad_sum params0 estim_lr numerator_weighted count
ReduceLROnPlateauState scale best_value plateau_count cooldown_count count avg_value
SAMState steps_since_sync opt_state adv_state cache
ScaleByAdaDeltaState e_g e_x
ScaleByAdamState count mu nu
ScaleByAdanState m v n g t
ScaleByAdemamixState count count_m2 m1 m2 nu
ScaleByAmsgradState count mu nu nu_max
ScaleByBeliefState count mu nu
ScaleByLBFGSState count params updates diff_params_memory diff_updates_memory weights_memory
ScaleByLionState count mu
ScaleByNovogradState count mu nu
ScaleByOptimisticGradientState is_initial_step previous_gradient
ScaleByRStdDevState mu nu
ScaleByRStdDevWithCountState count mu nu
ScaleByRmsState nu
ScaleByRmsWithCountState count nu
ScaleByRpropState step_sizes prev_updates
ScaleByRssState sum_of_squares
ScaleBySM3State mu nu
ScaleByScheduleState count
ScheduleFreeState b1 weight_sum step_count max_lr base_optimizer_state z
SophiaState count mu nu hessian_fn_state
TraceState trace
WrappedScheduleState count
ZeroNansState found_nan
"""
_FIELDS = {name: fields for name, *fields in map(str.split, _OPTAX.strip().splitlines())}

_MAX_FIELDS = 32
_NNX = "flax.nnx."
# collections by the class of a Variable; others leave it to names
_VARIABLES = {
    "Param": "params",
    "LoRAParam": "params",
    "BatchStat": "batch_stats",
    "Cache": "cache",
    "Intermediate": "intermediates",
    "Perturbation": "perturbations",
    "RngState": "rng_state",
    "RngKey": "rng_state",
    "RngCount": "rng_state",
    "OptState": "opt_state",
    "OptArray": "opt_state",
    "OptVariable": "opt_state",
}
_VALUES = ("_raw_value", "raw_value", "value")  # of a Variable, by Flax's version
_ARRAYS = ("_reconstruct_array", "reconstruct_device_array")
_DICTS = ("FrozenDict", "FlatMapping", "FlatMap", "to_immutable_dict")


class Content(NamedTuple):
    """What an object holds, and the collection that its class gives it, or ""."""

    value: object
    collection: str


def find_jax(module: str, name: str) -> Global | None:
    """Return the stand-in for a name of JAX, Flax, optax or Haiku; None for other names."""
    full = f"{module}.{name}"
    root = module.partition(".")[0]
    if root == "ml_dtypes" and dtypes.find(name).kind != "text":
        return Global(full)
    if root in ("jax", "jaxlib"):
        build = _make_array if name in _ARRAYS else _keeping(full)
        return Global(full, build)
    if root in ("flax", "haiku") and name in _DICTS:
        return Global(full, _make_same)
    if root == "optax" or module.startswith(_NNX):
        return Global(full, _keeping(full))
    return None


def _make_same(value: object = None, *_: object) -> object:
    return {} if value is None else value


def _make_array(function: object, arguments: object, state: object, *_: object) -> object:
    """Return NumPy's record of the array that a JAX array is pickled as."""
    if type(state) is not tuple:
        raise BrokenError("has a JAX array without the state of a NumPy array")
    array = PickledArray()
    array.set_state(state)
    return array


def _keeping(full: str) -> Callable[..., object]:
    """Return the function that makes an object of a class, which keeps its arguments by name."""
    fields = _FIELDS.get(full.rpartition(".")[2], [])

    def build(*arguments: object) -> Instance:
        if (
            len(arguments) > _MAX_FIELDS
        ):  # kept by each call: a small pickle must stay small
            raise BrokenError(f"makes {printable(full)} of {len(arguments):,} arguments")
        names = [*fields, *map(str, range(len(fields), len(arguments)))]
        return Instance(full, dict(zip(names, arguments, strict=False)) or None)

    return build


def _keys(state: object) -> object:
    """Return the words of PRNG keys as an array that knows their format, by JAX's tag for it."""
    fields = state if isinstance(state, dict) else {}
    words, kind = fields.get("_base_array"), fields.get("_impl")
    if type(words) is not PickledArray or not words.shape:
        return state
    named = kind.state if isinstance(kind, Instance) else None
    *_, tag = named.values() if isinstance(named, dict) else ("",)
    words.key_format = f"key<{printable(tag, 20)}>"
    return words


def content_of(instance: Instance) -> Content:
    """Return what an object holds and the collection of its class.

    >>> content_of(Instance("flax.nnx.variablelib.Param", {"_raw_value": 1}))
    Content(value=1, collection='params')
    """
    of, state = instance.of, instance.state
    name = of.rpartition(".")[2]
    if of.startswith("optax."):
        return Content(state, "" if name == "LookaheadParams" else "opt_state")
    if name == "PRNGKeyArray":
        return Content(_keys(state), "rng_state")
    if of.startswith(_NNX) and isinstance(state, dict):
        if "_mapping" in state:  # an nnx.State
            return Content(state["_mapping"], "")
        for value in _VALUES:
            if value in state:
                return Content(state[value], _VARIABLES.get(name, ""))
    return Content(state, "")
