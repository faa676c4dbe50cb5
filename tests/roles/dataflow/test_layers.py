"""Every layer that Flax ships, against a table written by hand: role -> paths."""

from typing import Any

import jax
import pytest
from flax import linen as nn
from flax import nnx

from tests.roles.dataflow.reading import floats, ids, roles_of

X, IMAGE, FILM, TOKENS = (
    floats(2, 6, 4),
    floats(2, 8, 8, 4),
    floats(2, 5, 8, 8, 4),
    ids(2, 3),
)
DENSE = {"kernel": "kernel", "bias": "bias"}
NORM = {"scale": "scale", "bias": "bias"}
ATTENTION = {
    "kernel": "query/kernel key/kernel value/kernel out/kernel",
    "bias": "query/bias key/bias value/bias out/bias",
}
LSTM = {
    "kernel": "ii/kernel if/kernel ig/kernel io/kernel hi/kernel hf/kernel hg/kernel ho/kernel",
    "bias": "hi/bias hf/bias hg/bias ho/bias",
}
GRU = {
    "kernel": "ir/kernel iz/kernel in/kernel hr/kernel hz/kernel hn/kernel",
    "bias": "ir/bias iz/bias in/bias hn/bias",
}


def under(prefix: str, truth: dict[str, str]) -> dict[str, str]:
    """Return a truth whose paths stand below a module."""
    return {
        role: " ".join(f"{prefix}/{path}" for path in paths.split())
        for role, paths in truth.items()
    }


def both(*truths: dict[str, str]) -> dict[str, str]:
    roles = dict.fromkeys(role for truth in truths for role in truth)
    return {role: " ".join(truth.get(role, "") for truth in truths) for role in roles}


def flat(truth: dict[str, str]) -> dict[str, str]:
    return {path: role for role, paths in truth.items() for path in paths.split()}


class Tied(nn.Module):
    """Looked up and projected back."""

    def setup(self):
        self.embed = nn.Embed(10, 4)

    def __call__(self, tokens):
        return self.embed.attend(self.embed(tokens))


LINEN: dict[str, tuple[nn.Module, Any, dict[str, str]]] = {
    "Dense": (nn.Dense(3), X, DENSE),
    "DenseGeneral": (nn.DenseGeneral((2, 3), axis=(-2, -1)), X, DENSE),
    "Einsum": (nn.Einsum((4, 3), "bti,io->bto"), X, DENSE),
    "Conv": (nn.Conv(6, (3, 3)), IMAGE, DENSE),
    "Conv, grouped": (nn.Conv(6, (3, 3), feature_group_count=2), IMAGE, DENSE),
    "Conv, dilated": (nn.Conv(6, (3,), kernel_dilation=2), X, DENSE),
    "ConvLocal": (nn.ConvLocal(6, (3, 3)), IMAGE, DENSE),
    "ConvTranspose": (nn.ConvTranspose(6, (3, 3), strides=(2, 2)), IMAGE, DENSE),
    "Embed": (nn.Embed(10, 4), TOKENS, {"embedding": "embedding"}),
    "Embed.attend": (Tied(), TOKENS, {"embedding": "embed/embedding"}),
    "LayerNorm": (nn.LayerNorm(), X, NORM),
    "RMSNorm": (nn.RMSNorm(), X, {"scale": "scale"}),
    "GroupNorm": (nn.GroupNorm(2), X, NORM),
    "InstanceNorm": (nn.InstanceNorm(), IMAGE, NORM),
    # what is divided by the norm of a kernel is multiplied as the kernel is
    "WeightNorm": (
        nn.WeightNorm(nn.Dense(3)),
        X,
        {"kernel": "layer_instance/kernel layer_instance/kernel/scale", "bias": "layer_instance/bias"},
    ),
    "MultiHeadDotProductAttention": (nn.MultiHeadDotProductAttention(2), X, ATTENTION),
    "MultiHeadAttention": (
        nn.MultiHeadAttention(2, normalize_qk=True),
        X,
        both(ATTENTION, {"scale": "query_ln/scale key_ln/scale"}),
    ),
    "SelfAttention": (nn.SelfAttention(2), X, ATTENTION),
    "LSTMCell": (nn.RNN(nn.LSTMCell(3)), X, under("cell", LSTM)),
    "OptimizedLSTMCell": (nn.RNN(nn.OptimizedLSTMCell(3)), X, under("cell", LSTM)),
    "GRUCell": (nn.RNN(nn.GRUCell(3)), X, under("cell", GRU)),
    "MGUCell": (
        nn.RNN(nn.MGUCell(3)),
        X,
        {
            "kernel": "cell/if/kernel cell/in/kernel cell/hf/kernel cell/hn/kernel",
            "bias": "cell/if/bias cell/in/bias cell/hn/bias",
        },
    ),
    "SimpleCell": (
        nn.RNN(nn.SimpleCell(3)),
        X,
        {"kernel": "cell/i/kernel cell/h/kernel", "bias": "cell/i/bias"},
    ),
    "ConvLSTMCell": (
        nn.RNN(nn.ConvLSTMCell(3, (3, 3))),
        FILM,
        {"kernel": "cell/ih/kernel cell/hh/kernel", "bias": "cell/ih/bias cell/hh/bias"},
    ),
    "Bidirectional": (
        nn.Bidirectional(nn.RNN(nn.GRUCell(3)), nn.RNN(nn.LSTMCell(3))),
        X,
        both(under("forward_rnn/cell", GRU), under("backward_rnn/cell", LSTM)),
    ),
    "PReLU": (nn.PReLU(), X, {"scale": "negative_slope"}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:SelfAttention will be deprecated")
@pytest.mark.parametrize("name", LINEN)
def test_linen(name: str):
    module, x, truth = LINEN[name]
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    assert roles_of(module.apply, variables, x) == flat(under("params", truth))


def test_batch_norm_of_linen():
    module = nn.BatchNorm()
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, True), X)
    learned = {"params/scale": "scale", "params/bias": "bias"}

    def evaluate(variables, x):
        return module.apply(variables, x, use_running_average=True)

    def train(variables, x):
        return module.apply(
            variables, x, use_running_average=False, mutable=["batch_stats"]
        )

    def train_without_statistics(variables, x):
        return train(variables, x)[0]

    # the mean is taken away, the root of the variance divides
    running = {"batch_stats/mean": "bias", "batch_stats/var": "scale"}
    assert roles_of(evaluate, variables, X) == learned | running
    # both are averaged with the batch's
    averaged = {"batch_stats/mean": "bias", "batch_stats/var": "bias"}
    assert roles_of(train, variables, X) == learned | averaged
    unused = {"batch_stats/mean": "unused", "batch_stats/var": "unused"}
    assert roles_of(train_without_statistics, variables, X) == learned | unused


def test_spectral_norm_of_linen():
    module = nn.SpectralNorm(nn.Dense(3))
    variables = jax.eval_shape(
        lambda x: module.init(jax.random.key(0), x, update_stats=False), X
    )
    # u stands in the norm that divides the kernel; the norm kept is not read again
    assert roles_of(lambda v, x: module.apply(v, x, update_stats=False), variables, X) == {
        "params/layer_instance/kernel": "kernel",
        "params/layer_instance/bias": "bias",
        "batch_stats/layer_instance/kernel/u": "kernel",
        "batch_stats/layer_instance/kernel/sigma": "unused",
    }


RNGS = nnx.Rngs(0)
NNX_LSTM = LSTM | {"kernel": LSTM["kernel"].replace("if/", "if_/")}
FUSED = {"kernel": "dense_i/kernel dense_h/kernel"}
NNX: dict[str, tuple[nnx.Module, Any, dict[str, str]]] = {
    "Linear": (nnx.Linear(4, 3, rngs=RNGS), X, DENSE),
    "LinearGeneral": (nnx.LinearGeneral((6, 4), (2, 3), axis=(-2, -1), rngs=RNGS), X, DENSE),
    "Einsum": (nnx.Einsum("bti,io->bto", (4, 3), (3,), rngs=RNGS), X, DENSE),
    "Conv": (nnx.Conv(4, 6, (3, 3), rngs=RNGS), IMAGE, DENSE),
    "ConvTranspose": (nnx.ConvTranspose(4, 6, (3, 3), strides=(2, 2), rngs=RNGS), IMAGE, DENSE),
    "Embed": (nnx.Embed(10, 4, rngs=RNGS), TOKENS, {"embedding": "embedding"}),
    "LayerNorm": (nnx.LayerNorm(4, rngs=RNGS), X, NORM),
    "RMSNorm": (nnx.RMSNorm(4, rngs=RNGS), X, {"scale": "scale"}),
    "GroupNorm": (nnx.GroupNorm(4, 2, rngs=RNGS), X, NORM),
    "InstanceNorm": (nnx.InstanceNorm(4, rngs=RNGS), IMAGE, NORM),
    "BatchNorm": (
        nnx.BatchNorm(4, use_running_average=True, rngs=RNGS),
        X,
        both(NORM, {"bias": "mean", "scale": "var"}),
    ),
    "MultiHeadAttention": (nnx.MultiHeadAttention(2, 4, decode=False, rngs=RNGS), X, ATTENTION),
    "LSTMCell": (nnx.RNN(nnx.LSTMCell(4, 3, rngs=RNGS)), X, under("cell", NNX_LSTM)),
    "OptimizedLSTMCell": (
        nnx.RNN(nnx.OptimizedLSTMCell(4, 3, rngs=RNGS)),
        X,
        under("cell", both(FUSED, {"bias": "dense_h/bias"})),
    ),
    "GRUCell": (
        nnx.RNN(nnx.GRUCell(4, 3, rngs=RNGS)),
        X,
        under("cell", both(FUSED, {"bias": "dense_i/bias"})),
    ),
    "SimpleCell": (
        nnx.RNN(nnx.SimpleCell(4, 3, rngs=RNGS)),
        X,
        under("cell", both(FUSED, {"bias": "dense_i/bias"})),
    ),
    "PReLU": (nnx.PReLU(), X, {"scale": "negative_slope"}),
    "LoRA": (nnx.LoRA(4, 2, 3, rngs=RNGS), X, {"kernel": "lora_a lora_b"}),
    "LoRALinear": (
        nnx.LoRALinear(4, 3, lora_rank=2, rngs=RNGS),
        X,
        both(DENSE, {"kernel": "lora/lora_a lora/lora_b"}),
    ),
}  # fmt: skip


def without_keys(roles: dict[str, str]) -> dict[str, str]:
    """Leave out what recurrent layers keep for dropout, whether they use it or not."""
    return {path: role for path, role in roles.items() if "rngs" not in path.split("/")}


@pytest.mark.parametrize("name", NNX)
def test_nnx(name: str):
    module, x, truth = NNX[name]
    assert without_keys(roles_of(lambda m, x: m(x), module, x)) == flat(truth)
    graph, state = nnx.split(module)
    by_state = roles_of(lambda state, x: nnx.merge(graph, state)(x), state, x)
    assert without_keys(by_state) == flat(truth)


def test_more_of_nnx():
    tied = nnx.Embed(10, 4, rngs=RNGS)
    assert roles_of(lambda m, i: m.attend(m(i)), tied, TOKENS) == {"embedding": "embedding"}
    pair = nnx.Bidirectional(
        nnx.RNN(nnx.GRUCell(4, 3, rngs=RNGS)),
        nnx.RNN(nnx.SimpleCell(4, 3, rngs=RNGS)),
        rngs=RNGS,
    )
    cell = both(FUSED, {"bias": "dense_i/bias"})
    assert without_keys(roles_of(lambda m, x: m(x), pair, X)) == flat(
        both(under("forward_rnn/cell", cell), under("backward_rnn/cell", cell))
    )

    def train(module, x):
        return module(x, use_running_average=False), nnx.state(module, nnx.BatchStat)

    learned = {"scale": "scale", "bias": "bias"}
    averaged = {"mean": "bias", "var": "bias"}
    assert roles_of(train, nnx.BatchNorm(4, rngs=RNGS), X) == learned | averaged


def inside(roles: dict[str, str]) -> dict[str, str]:
    """Return the roles of what is normalised."""
    return {
        path.removeprefix("layer_instance/"): role
        for path, role in roles.items()
        if path.startswith("layer_instance/")
    }


def outside(roles: dict[str, str]) -> dict[str, str]:
    return {path: role for path, role in roles.items() if not path.startswith("layer")}


def test_norms_of_weights_of_nnx():
    dense = {"kernel": "kernel", "bias": "bias"}
    weight = nnx.WeightNorm(nnx.Linear(4, 3, rngs=RNGS), rngs=RNGS)
    roles = roles_of(lambda m, x: m(x), weight, X)
    assert inside(roles) == dense
    assert set(outside(roles).values()) == {"kernel"}
    spectral = nnx.SpectralNorm(nnx.Linear(4, 3, rngs=RNGS), rngs=RNGS)
    roles = roles_of(lambda m, x: m(x, update_stats=False), spectral, X)
    assert inside(roles) == dense
    assert {"sigma" in path: role for path, role in outside(roles).items()} == {
        True: "unused",
        False: "kernel",
    }


def test_a_leaf_that_is_boxed():
    init = nn.with_partitioning(nn.initializers.zeros, ("model", None))
    module = nn.Dense(3, kernel_init=init)
    variables = jax.eval_shape(module.init, jax.random.key(0), X)
    assert roles_of(module.apply, variables, X) == {
        "params/kernel": "kernel",
        "params/bias": "bias",
    }


def test_dropout_reads_no_data_from_its_key():
    module = nn.Sequential([nn.Dense(3), nn.Dropout(0.5, deterministic=False)])
    variables = jax.eval_shape(module.init, jax.random.key(0), X)
    roles = roles_of(module.apply, variables, X, rngs={"dropout": jax.random.key(1)})
    assert roles == flat(under("params/layers_0", DENSE))
