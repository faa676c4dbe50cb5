"""NNX and Equinox modules train as plain loops of their own libraries do."""

import json
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import explorer as ex
from explorer.errors import InputError
from explorer.models.small import MultilayerPerceptron
from explorer.training import Trainer, Watch
from tests.training import tiny
from tests.training.devices import start
from tests.training.modules.networks import Network, Perceptron, points, squares

OPTIMIZER = optax.adamw(3e-2)
STEPS = 6


@pytest.fixture(autouse=True)
def unplaced():
    """Modules are made without a mesh, whatever axes they are annotated with."""
    with nnx.use_eager_sharding(False):
        yield


def trained(trainer: Trainer) -> tuple[Any, list[float]]:
    """Return the state after some steps, and the loss of each."""
    state, losses = trainer.init(jax.random.key(1)), []
    for n in range(STEPS):
        state, metrics = trainer.step(state, points(seed=n))
        losses.append(float(metrics["loss"]))
    return state, losses


def plain_nnx(model: Network) -> list[float]:
    """Return the losses of a loop as NNX's own guide writes it."""
    optimizer = nnx.Optimizer(model, OPTIMIZER, wrt=nnx.Param)

    @nnx.jit
    def step(model: Network, optimizer: nnx.Optimizer, batch: Any) -> jax.Array:
        def loss_fn(model: Network) -> jax.Array:
            return squares(model, batch, None)[0]

        loss, grads = nnx.value_and_grad(loss_fn)(model)
        optimizer.update(model, grads)
        return loss

    model.train()
    return [float(step(model, optimizer, points(seed=n))) for n in range(STEPS)]


def test_an_nnx_module_trains_as_in_a_loop_of_nnx():
    """Without dropout, which draws from a key of its own; statistics of batches included."""
    theirs = Network(rngs=nnx.Rngs(0), dropout=0.0)
    mine = Network(rngs=nnx.Rngs(0), dropout=0.0)
    before = nnx.to_pure_dict(nnx.state(mine, (nnx.Param, nnx.BatchStat)))
    trainer = Trainer(mine, squares, OPTIMIZER)
    state, losses = trained(trainer)
    np.testing.assert_allclose(losses, plain_nnx(theirs), rtol=2e-5)
    found = trainer.module(state)
    assert isinstance(found, Network)
    for model in (theirs, found):
        model.eval()
    x, _ = points(seed=9)
    np.testing.assert_allclose(found(x), theirs(x), rtol=1e-4, atol=1e-5)
    # the module that was given is as it was
    after = nnx.to_pure_dict(nnx.state(mine, (nnx.Param, nnx.BatchStat)))
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_a_factory_draws_what_its_rngs_say_and_paths_are_plain():
    trainer = Trainer(Network, squares, OPTIMIZER, watch=Watch(every=2))
    state = trainer.init(jax.random.key(3))
    drawn = Network(rngs=nnx.Rngs(jax.random.split(jax.random.key(3))[0]))
    np.testing.assert_array_equal(state.params["up"]["kernel"], drawn.up.kernel[...])
    names = [
        "layers/0/bias", "layers/0/kernel", "norm/bias", "norm/scale", "up/bias", "up/kernel",
    ]  # fmt: skip
    assert list(trainer.history(state).rows) == names
    assert [t.name for t in ex.explore(state.params)] == names
    assert set(state.batch_stats) == {"norm"}
    assert ex.explore(trainer.module(state)).num_parameters == ex.count_parameters(
        state.params
    )


def test_dropout_draws_by_the_step_and_not_in_an_evaluation():
    trainer = Trainer(partial(Network, dropout=0.5), squares, optax.sgd(0.0))
    state = trainer.init(jax.random.key(0))
    batch = points()
    again, first = trainer.step(jax.tree.map(jnp.copy, state), batch)
    _, same = trainer.step(jax.tree.map(jnp.copy, state), batch)
    _, other = trainer.step(again, batch)
    assert float(first["mean"]) == float(same["mean"])
    assert float(first["mean"]) != float(other["mean"])
    state = trainer.init(jax.random.key(0))
    means = [float(trainer.eval_step(state.replace(step=n), batch)["mean"]) for n in (0, 1)]
    assert means[0] == means[1]


def test_frozen_and_adapted_parameters_of_nnx():
    class Adapted(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs):
            self.layer = nnx.LoRALinear(4, 3, lora_rank=2, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.layer(x)

    trainer = Trainer(Adapted, squares, OPTIMIZER, freeze=["layer/kernel", "layer/bias"])
    state = trainer.init(jax.random.key(0))
    before = jax.tree.map(np.asarray, state.params)
    for _ in range(3):
        state, _ = trainer.step(state, points())
    after = state.params["layer"]
    np.testing.assert_array_equal(after["kernel"], before["layer"]["kernel"])
    moved = after["lora"]["lora_b"] - before["layer"]["lora"]["lora_b"]
    assert float(jnp.abs(moved).max()) > 0


def test_an_equinox_module_trains_as_in_a_loop_of_equinox():
    model = Perceptron(jax.random.key(0))
    trainer = Trainer(model, squares, OPTIMIZER)
    state, mine = trained(trainer)
    theirs, wanted = model, []
    slots = OPTIMIZER.init(eqx.filter(theirs, eqx.is_inexact_array))
    for n in range(STEPS):
        loss = lambda model, n=n: squares(model, points(seed=n), None)[0]  # noqa: E731
        value, grads = eqx.filter_value_and_grad(loss)(theirs)
        updates, slots = OPTIMIZER.update(
            grads, slots, eqx.filter(theirs, eqx.is_inexact_array)
        )
        theirs = eqx.apply_updates(theirs, updates)
        wanted.append(float(value))
    np.testing.assert_allclose(mine, wanted, rtol=2e-5)
    found = trainer.module(state)
    assert found.scale == 0.5
    np.testing.assert_allclose(
        found.layers[0].weight, theirs.layers[0].weight, rtol=1e-4, atol=1e-6
    )


def test_parameters_and_a_function_train_as_in_a_loop_of_optax():
    params = {"w": jnp.full((4, 2), 0.1), "b": [jnp.zeros(2)]}

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jnp.tanh(x @ params["w"] + params["b"][0])

    def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
        return jnp.square(apply(params, batch[0][:, :4]) - batch[1][:, :2]).mean()

    theirs, slots, wanted = params, OPTIMIZER.init(params), []
    for n in range(STEPS):
        value, grads = jax.value_and_grad(loss_fn)(theirs, points(seed=n), None)
        updates, slots = OPTIMIZER.update(grads, slots, theirs)
        theirs = optax.apply_updates(theirs, updates)
        wanted.append(float(value))
    trainer = Trainer((params, apply), loss_fn, OPTIMIZER, watch=Watch(every=2))
    state, losses = trained(trainer)
    np.testing.assert_allclose(losses, wanted, rtol=2e-5)
    x = points(seed=9)[0][:, :4]
    np.testing.assert_allclose(trainer.module(state)(x), apply(theirs, x), rtol=1e-4)
    assert trainer.watch is not None
    assert trainer.watch.rows(state.params) == ("b/0", "w")
    assert params["w"][0, 0] == jnp.float32(0.1), "it was copied"
    loaded = trainer.init(tiny.KEY, params={"w": jnp.ones((4, 2))}, fresh="b/*")
    assert loaded.params["w"].sum() == 8
    assert not loaded.params["b"][0].any()


def test_a_linen_module_comes_back_bound():
    module = MultilayerPerceptron((8, 3))
    trainer = Trainer(module, tiny.squares(module), OPTIMIZER)
    x, _ = points()
    state = trainer.init(jax.random.key(0), x)
    found = trainer.module(state)(x)
    np.testing.assert_array_equal(found, module.apply({"params": state.params}, x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "module: 3; expected a module of Linen, NNX or Equinox, a function of rngs"),
        (MultilayerPerceptron, "expected a module of Linen.*make one of the class"),
        (lambda rngs: 7, "module: .* returned 7; expected an NNX module"),
        (partial(Network, "seven"), "cannot be called with rngs: "),
        (
            (print, print),
            "model: .init, apply., two functions; expected .params, apply.; call init",
        ),
        (({}, 3), "expected a module of Linen, .* or .params, apply."),
        (({"w": "text"}, print), "params/w: is str; expected an array of numbers"),
        (lambda: 0, "cannot be called with rngs: .* pass a function of rngs"),
    ],
)
def test_what_is_not_a_module(model: Any, message: str):
    with pytest.raises(InputError, match=message):
        Trainer(model, squares, OPTIMIZER)


def test_a_loss_that_returns_statistics_of_nnx():
    trainer = Trainer(Network, lambda model, batch, context: (0.0, {}, {}), OPTIMIZER)
    with pytest.raises(
        InputError, match=r"a tuple of 3; expected loss or \(loss, metrics\)"
    ):
        trainer.step(trainer.init(jax.random.key(0)), points())


class Masked(nnx.Module):
    """One that holds arrays outside of Variables, as masks and tables of positions often are."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.layer = nnx.Linear(4, 2, rngs=rngs)
        self.mask = jnp.array([1.0, 0.0])
        self.table = np.ones(2)
        self.key = jax.random.key(3)
        self.several = nnx.List([jnp.ones(2)])
        self.scale = nnx.Variable(2)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layer(x) * self.mask * self.several[0] * self.scale[...]


@pytest.mark.parametrize(
    "model", [Masked(rngs=nnx.Rngs(0)), Masked], ids=["module", "factory"]
)
def test_arrays_outside_of_variables_are_kept_as_they_are(model: Any):
    def loss_fn(model: Any, batch: Any, context: Any) -> jax.Array:
        return jnp.square(model(batch) - 1).mean()

    trainer = Trainer(model, loss_fn, optax.sgd(0.1))
    x = jnp.ones((3, 4))
    state = first = trainer.init(jax.random.key(0))
    kernel = np.array(first.params["layer"]["kernel"])
    mask = np.array(first.batch_stats["mask"])
    for _ in range(3):
        state, _ = trainer.step(state, x)
    assert set(state.params) == {"layer"}
    np.testing.assert_array_equal(state.batch_stats["mask"], mask)
    after = state.params["layer"]["kernel"]
    np.testing.assert_array_equal(after[:, 1], kernel[:, 1])  # behind the mask
    assert (after[:, 0] != kernel[:, 0]).all()
    assert (trainer.module(state)(x)[:, 1] == 0).all()


def test_what_a_call_makes_or_changes_and_no_step_keeps():
    class Text(Masked):
        def __init__(self, *, rngs: nnx.Rngs):
            super().__init__(rngs=rngs)
            self.name = nnx.Variable("mine")

    class Late(Masked):
        def __call__(self, x: jax.Array) -> jax.Array:
            self.sow(nnx.Intermediate, "seen", x)  # which nothing keeps
            if not hasattr(self, "mean"):
                self.mean = nnx.BatchStat(jnp.zeros(4))
            return super().__call__(x)

    def loss_fn(model: Any, batch: Any, context: Any) -> jax.Array:
        return model(batch).mean()

    class Counting(Masked):
        calls = 0

        def __call__(self, x: jax.Array) -> jax.Array:
            self.calls += 1
            return super().__call__(x)

    counting = Counting(rngs=nnx.Rngs(0))
    counting.calls = 3
    trainer = Trainer(
        counting, lambda model, batch, context: model(batch).mean(), OPTIMIZER
    )
    state = trainer.init(jax.random.key(0))
    with pytest.raises(InputError, match="calls: was changed from 3 to 4 by a call"):
        trainer.step(state, jnp.ones((3, 4)))
    wanted = "name: a Variable of 'mine'; expected an array or a number"
    for model in (Text, Text(rngs=nnx.Rngs(0))):
        with pytest.raises(InputError, match=wanted):
            Trainer(model, loss_fn, optax.sgd(0.1)).init(jax.random.key(0))
    trainer = Trainer(Late, loss_fn, optax.sgd(0.1))
    state = trainer.init(jax.random.key(0))
    with pytest.raises(
        InputError, match="mean: a BatchStat that the module made in a call"
    ):
        trainer.step(state, jnp.ones((3, 4)))


class TestLoadedStatistics:
    """Statistics come with the parameters that they were measured with."""

    def trained(self) -> tuple[Network, float]:
        """Return a module that has seen something, and its loss as it evaluates."""
        trainer = Trainer(Network(rngs=nnx.Rngs(0), dropout=0.0), squares, OPTIMIZER)
        state, _ = trained(trainer)
        return trainer.module(state), float(
            trainer.eval_step(state, points(seed=9))["loss"]
        )

    @pytest.mark.parametrize(
        "of", [lambda module: module, nnx.state], ids=["module", "state"]
    )
    def test_nnx(self, of: Any):
        module, loss = self.trained()
        trainer = Trainer(partial(Network, dropout=0.0), squares, OPTIMIZER)
        state = trainer.init(jax.random.key(5), params=of(module))
        found = float(trainer.eval_step(state, points(seed=9))["loss"])
        np.testing.assert_allclose(found, loss, rtol=1e-5)
        only = trainer.init(jax.random.key(5), params=nnx.state(module, nnx.Param))
        assert float(trainer.eval_step(only, points(seed=9))["loss"]) != found

    def test_linen(self):
        class Normed(nn.Module):
            @nn.compact
            def __call__(self, x: jax.Array) -> jax.Array:
                x = nn.BatchNorm(use_running_average=True)(nn.Dense(3)(x))
                self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
                return x

        model, (x, _) = Normed(), points()
        drawn = model.init(jax.random.key(0), x)
        saved = jax.tree.map(lambda leaf: leaf + 2, drawn)

        def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
            return model.apply(context.variables(params), batch[0]).mean()

        trainer = Trainer(model, loss_fn, OPTIMIZER)
        state = trainer.init(tiny.KEY, x, params=saved)
        for name in ("batch_stats", "counters"):
            jax.tree.map(
                np.testing.assert_array_equal, state.batch_stats[name], saved[name]
            )
        jax.tree.map(np.testing.assert_array_equal, state.params, saved["params"])
        part = {name: saved[name] for name in ("params", "counters")}
        state = trainer.init(tiny.KEY, x, params=part)
        norm = state.batch_stats["batch_stats"]["BatchNorm_0"]
        assert (norm["mean"] == 0).all()
        assert state.batch_stats["counters"]["calls"] == 2
        with pytest.raises(
            InputError, match="params: collection 'cache' is left over; expected"
        ):
            trainer.init(tiny.KEY, x, params={**saved, "cache": x})
        del saved["batch_stats"]["BatchNorm_0"]["var"]
        with pytest.raises(InputError, match="batch_stats: BatchNorm_0/var is missing"):
            trainer.init(tiny.KEY, x, params=saved)


class TestLoaded:
    """Parameters that are loaded, and those that are drawn all the same."""

    module = MultilayerPerceptron((8, 3))

    def trainer(self) -> Trainer:
        return Trainer(
            self.module, tiny.squares(self.module), OPTIMIZER, watch=Watch(distance=True)
        )

    def test_all(self):
        x, _ = points()
        loaded = self.module.init(jax.random.key(7), x)["params"]
        trainer = self.trainer()
        state = trainer.init(jax.random.key(0), x, params=loaded)
        jax.tree.map(np.testing.assert_array_equal, state.params, loaded)
        jax.tree.map(np.testing.assert_array_equal, state.watch, loaded)
        trainer.step(state, points())  # whose memory is not that of what was loaded
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(loaded))

    def test_a_new_head(self):
        x, _ = points()
        loaded = self.module.init(jax.random.key(7), x)["params"]
        body = {"params": {"layers_0": loaded["layers_0"]}}
        state = self.trainer().init(jax.random.key(0), x, params=body, fresh="layers_1/**")
        drawn = self.trainer().init(jax.random.key(0), x).params
        np.testing.assert_array_equal(
            state.params["layers_1"]["kernel"], drawn["layers_1"]["kernel"]
        )
        np.testing.assert_array_equal(
            state.params["layers_0"]["kernel"], loaded["layers_0"]["kernel"]
        )

    def test_nnx(self):
        trainer = Trainer(Network, squares, OPTIMIZER)
        loaded = trainer.init(jax.random.key(5)).params
        for model in (Network, Network(rngs=nnx.Rngs(1))):
            other = Trainer(model, squares, OPTIMIZER)
            state = other.init(jax.random.key(0), params=loaded)
            jax.tree.map(np.testing.assert_array_equal, state.params, loaded)

    def test_a_state_or_a_module_of_nnx(self):
        network = Network(rngs=nnx.Rngs(5))
        right = jax.tree.leaves(nnx.state(network, nnx.Param))
        for loaded in (network, nnx.state(network, nnx.Param)):
            state = Trainer(Network, squares, OPTIMIZER).init(
                jax.random.key(0), params=loaded
            )
            for found, each in zip(jax.tree.leaves(state.params), right, strict=True):
                np.testing.assert_array_equal(found, each)

    def test_what_is_drawn_without_anything_that_is_loaded(self):
        x, _ = points()
        with pytest.raises(InputError, match="fresh: no params; pass params= as well"):
            self.trainer().init(jax.random.key(0), x, fresh="layers_1/**")
        loaded = self.module.init(jax.random.key(7), x)["params"]
        with pytest.raises(InputError, match=r"fresh: is 3 .*; expected several strs"):
            self.trainer().init(jax.random.key(0), x, params=loaded, fresh=3)  # pyright: ignore

    @pytest.mark.parametrize(
        ("change", "fresh", "message"),
        [
            (
                {"layers_1": None},
                (),
                r"params: layers_1/bias, layers_1/kernel are missing; expected",
            ),
            (
                {"extra": jnp.ones(2)},
                (),
                r"params: extra is left over; expected the parameters",
            ),
            (
                {},
                "head/**",
                "fresh: 'head/\\*\\*' matches no parameter; expected a glob of paths",
            ),
            (
                {"layers_1": {"kernel": jnp.ones((8, 4)), "bias": jnp.ones(3)}},
                (),
                r"layers_1/kernel: has shape \(8, 4\) in params; expected \(8, 3\)",
            ),
        ],
    )
    def test_what_does_not_fit(self, change: Any, fresh: Any, message: str):
        x, _ = points()
        loaded = {**self.module.init(jax.random.key(7), x)["params"], **change}
        loaded = {name: part for name, part in loaded.items() if part is not None}
        with pytest.raises(InputError, match=message):
            self.trainer().init(jax.random.key(0), x, params=loaded, fresh=fresh)


@pytest.fixture(scope="module")
def on_eight_devices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("runs")
    process = start("modules.on_devices", folder, devices=8)
    found, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(found)


def test_annotations_come_before_rules(on_eight_devices: dict[str, Any]):
    found = on_eight_devices["specs"]
    assert found["up/kernel"] == [None, "tensor"]  # as its module says
    assert found["layers/0/kernel"] == ["fsdp"]  # by the rules
    assert found["mu of up/kernel"] == [None, "tensor"]
    assert on_eight_devices["logical"] == {"linen": ["fsdp"], "nnx": [None, "tensor"]}


def test_a_plan_says_what_a_state_holds(on_eight_devices: dict[str, Any]):
    """Its bytes are those of the arrays, and of the shards of one device."""
    found = on_eight_devices["plan"]
    assert found["state_bytes"] == found["nbytes"]
    assert found["device_bytes"] == found["on one device"]
    assert found["why"] == ["annotation (-, tensor)", "largest axis", "default rule: bias"]


def test_a_run_that_is_stopped_and_resumed_is_the_same_bit_for_bit(
    on_eight_devices: dict[str, Any],
):
    assert on_eight_devices["resumed"] == on_eight_devices["whole"]
    best = on_eight_devices["best"]
    assert best["kept"] == best["lowest"]


@pytest.mark.parametrize("case", ["unknown", "divides", "rank", "twice"])
def test_annotations_that_do_not_fit(on_eight_devices: dict[str, Any], case: str):
    assert (
        on_eight_devices["errors"][case]
        == {
            "unknown": "up/kernel: is annotated with an axis 'embed'; expected one of the mesh's, data, "
            'fsdp, tensor, or of logical_axes; pass logical_axes={"embed": "fsdp"}, or None for no '
            "axis",
            "divides": "up/kernel: is annotated to split 4 over data x tensor, 8 devices; expected a size that "
            "they divide; change the mesh, or the annotation",
            "rank": "up/kernel: is annotated with 1 axes, ('tensor',); expected 2, as its shape (4, 16) "
            "has",
            "twice": "up/kernel: is split twice over tensor, by ('tensor', 'tensor'); expected each axis "
            "of the mesh once",
        }[case]
    )
