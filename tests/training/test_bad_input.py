"""What cannot be trained: one clear line each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from explorer.errors import InputError, TreeError
from explorer.models.small import LinearRegression
from explorer.training.sharding.mesh import Rule, make_mesh
from explorer.training.step.evaluation import make_eval_step
from explorer.training.step.state import create_state
from explorer.training.step.train_step import make_train_step
from tests.training import tiny

DESCENT = optax.sgd(0.1)
X = np.ones((4, 1), np.float32)


def said(call, kind=InputError) -> str:
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    return message


def step_of(loss_fn, batch, **options):
    step = make_train_step(loss_fn, DESCENT, **options)
    state = jax.eval_shape(lambda: tiny.first_state(tiny.LINE, DESCENT, X))
    return lambda: step.lower(state, batch)  # pyright: ignore


def answering(answer):
    """Return a loss function with this answer, from the bias and the batch."""
    return lambda params, batch, context: answer(params["linear"]["bias"], batch)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda b, x: x[:, 0] * b,
            "loss_fn: the loss has shape (4,); expected a scalar; take its mean",
        ),
        (
            lambda b, x: jnp.round(b.mean()).astype(int),
            "loss_fn: a loss of int32; expected a float",
        ),
        (
            lambda b, x: {"loss": b.mean()},
            "loss_fn: the loss is a dict; expected a scalar",
        ),
        (lambda b, x: None, "loss_fn: the loss is a NoneType; expected a scalar"),
        (
            lambda b, x: (b.mean(), b),
            "loss_fn: metrics that are not a dict; expected a dict of scalars by name",
        ),
        (
            lambda b, x: (b.mean(), {"missed": x}),
            "loss_fn: the metric missed has shape (4, 1); expected a scalar; reduce it",
        ),
        (
            lambda b, x: (b.mean(), {"grad_norm": b.mean()}),
            "loss_fn: a metric called 'grad_norm', as the step's own; give it another name",
        ),
        (
            lambda b, x: (b.mean(), {}, {}, {}),
            "loss_fn: a tuple of 4; expected loss, (loss, metrics) or (loss, metrics, batch_stats)",
        ),
        (
            lambda b, x: (b.mean(), {}, {"mean": b}),
            "loss_fn: statistics in which mean is float32[1], nothing before; expected what came "
            'in, with other values; of a Linen module return what apply(..., mutable=["batch_stats"]) '
            'gives under "batch_stats"',
        ),
    ],
)
def test_answers_of_a_loss_function(answer, message):
    assert said(step_of(answering(answer), X)) == message


def test_shapes_that_do_not_match():
    loss_fn = tiny.squares(tiny.NETWORK)
    state = jax.eval_shape(lambda: tiny.network_state(DESCENT))
    step = make_train_step(loss_fn, DESCENT)
    x, y = tiny.points(4)
    for batch in ((x[:, :5], y), (x, y[:, :3])):
        message = said(lambda batch=batch: step.lower(state, batch))  # pyright: ignore
        shapes = ", ".join(f"float32{list(leaf.shape)}" for leaf in batch)
        assert message.startswith(f"loss_fn: cannot be called with a batch of ({shapes}): ")


def test_formats_that_are_none():
    wanted = "expected a floating-point dtype such as bfloat16 or float32"
    state = {"param_dtype": "bf16"}
    message = said(lambda: create_state(tiny.LINE, DESCENT, tiny.KEY, X, **state))
    assert message == f"parameters: dtype 'bf16'; {wanted}"
    message = said(step_of(MEAN, X, compute_dtype="int8"))
    assert message == f"parameters: dtype 'int8'; {wanted}"


def test_evaluation_refuses_what_training_refuses():
    state = jax.eval_shape(lambda: tiny.first_state(tiny.LINE, DESCENT, X))
    evaluate = make_eval_step(answering(lambda b, x: x * b))
    assert said(lambda: evaluate.lower(state, X)) == (  # pyright: ignore
        "loss_fn: the loss has shape (4, 1); expected a scalar; take its mean"
    )


MEAN = answering(lambda b, batch: b.mean())


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [
        (
            (np.ones((4, 1)), np.ones((3, 1))),
            {},
            "the batch: arrays of shapes (4, 1), (3, 1); expected one number of examples, along the first axis of each",
        ),
        (
            {"x": np.ones((4, 1)), "weight": 2.0},
            {},
            "the batch: arrays of shapes (), (4, 1); expected one number of examples, along the first axis of each",
        ),
        (np.ones((0, 1)), {}, "the batch: no examples; expected at least one example"),
        (
            np.ones((7, 1)),
            {"accumulate": 2},
            "the batch: 7 examples; expected a multiple of accumulate=2",
        ),
        (
            (),
            {"accumulate": 2},
            "the batch: no arrays; expected a multiple of accumulate=2",
        ),
        (
            np.ones((3, 4, 1)),
            {"steps_per_call": 2},
            "the batch: 3 along the first axis; expected steps_per_call=2 batches; "
            "stack them along a new first axis, as Batches(steps_per_call=2)",
        ),
    ],
)
def test_batches(batch, options, message):
    assert said(step_of(MEAN, batch, **options)) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"remat": "everything"},
            "remat: 'everything'; expected None or one of full, dots, dots_no_batch",
        ),
        ({"accumulate": 0}, "accumulate: 0; expected a whole number, 1 or more"),
        (
            {"steps_per_call": 1.5},
            "steps_per_call: 1.5; expected a whole number, 1 or more",
        ),
    ],
)
def test_arguments_of_a_step(options, message):
    assert said(lambda: make_train_step(MEAN, DESCENT, **options)) == message


def test_parameters_of_integers():
    class Counter(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * self.param("count", lambda key: jnp.ones((), jnp.int32))

    message = (
        "count: a parameter of int32; expected floating point, as only that has a gradient; "
        "keep it in another collection than params"
    )
    assert said(lambda: create_state(Counter(), DESCENT, tiny.KEY, X)) == message
    state = tiny.first_state(tiny.LINE, DESCENT, X).replace(
        params={"count": jnp.ones((), int)}
    )
    step = make_train_step(MEAN, DESCENT)
    assert said(lambda: step(state, X)) == message


def test_states_that_cannot_begin():
    class Nothing(nn.Module):
        def __call__(self, x):
            return x

    def made(module=tiny.LINE, key=tiny.KEY, inputs=(X,), kind=InputError, **options):
        return said(lambda: create_state(module, DESCENT, key, *inputs, **options), kind)

    assert made(Nothing()) == "params: no parameters; expected something to train"
    assert (
        made(key=0, kind=TreeError) == "rng: int; expected one key; pass jax.random.key(0)"
    )
    several = jax.random.split(tiny.KEY, 2)
    assert made(key=several, kind=TreeError).startswith("rng: ")
    wanted = (
        "expected a module of Linen, NNX or Equinox, a function of rngs that makes one of "
        "NNX, or (params, apply)"
    )
    assert made("mlp") == f"module: 'mlp'; {wanted}"
    assert made(LinearRegression).endswith(f"{wanted}; make one of the class")
    assert made(inputs=()).startswith(
        "LinearRegression: cannot be called with these inputs: "
    )


def test_optimizers_that_are_none_or_another():
    assert said(lambda: create_state(tiny.LINE, "adam", tiny.KEY, X)) == (
        "optimizer: 'adam'; expected an optax transformation such as optax.adamw(1e-3)"
    )
    state = tiny.first_state(tiny.LINE, DESCENT, X)
    step = make_train_step(MEAN, optax.adam(1e-3))
    assert said(lambda: step(state, X)) == (
        "optimizer: a different one from that of the state; expected the optimizer that the "
        "state was made with; make the state with the init of this Trainer, or "
        "create_state(...)"
    )


def test_rules_without_a_mesh():
    message = said(lambda: tiny.first_state(tiny.LINE, DESCENT, X, rules=[Rule("fsdp")]))
    assert message == "rules: no mesh; pass mesh=make_mesh(...) as well"


def test_a_link_of_another_library_is_left_out():
    message = said(lambda: create_state(nn.Dense("many"), DESCENT, tiny.KEY, X))
    assert message.startswith("Dense: cannot be called with these inputs: ")
    assert "http" not in message


def test_a_state_that_is_placed_elsewhere():
    step = make_train_step(MEAN, DESCENT, mesh=make_mesh())
    state = tiny.first_state(tiny.LINE, DESCENT, X)
    assert said(lambda: step(state, X)) == (
        "the state: is not placed on the mesh of the step; "
        "make it with Trainer(mesh=mesh).init or create_state(..., mesh=mesh)"
    )
    evaluate = make_eval_step(MEAN, mesh=make_mesh())
    assert said(lambda: evaluate(state, X)) == said(lambda: step(state, X))
