"""Linen modules: abstract, of any size, bound or not, and errors that show the call."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import explorer as ex
from explorer.errors import InputError, TreeError
from explorer.inventory.listing import Sharding
from explorer.objects.linen import read
from tests import zoo


def test_collections_are_the_top_level_keys():
    listing = read(zoo.Attention(), jax.ShapeDtypeStruct((1, 5), jnp.int32))
    assert listing.format == "flax linen"
    found = zip(listing.keys, listing.collections or [], strict=True)
    assert all(collection in ("", key[0]) for key, collection in found)
    assert {key[0] for key in listing.keys} == {"cache", "params"}


def test_a_shared_embedding_is_there_once():
    inventory = ex.explore(zoo.Attention(), jax.ShapeDtypeStruct((1, 5), jnp.int32))
    embedding, attention, norm = 7 * 4, 4 * (4 * 4 + 4), 4 + 4
    assert inventory.num_parameters == embedding + attention + norm
    assert len(inventory.select(role="embedding")) == 1


@pytest.mark.parametrize(
    "given",
    [jnp.ones((1, 3)), jax.ShapeDtypeStruct((1, 3), jnp.float32)],
    ids=["array", "shape"],
)
def test_inputs_may_be_arrays_or_shapes(given):
    assert ex.explore(zoo.MLP(), given).num_parameters == 34


def test_flags_and_numbers_stay_what_they_are():
    class Repeated(nn.Module):
        @nn.compact
        def __call__(self, batch, times: int, *, mode: str = "", width=None, train=False):
            x = batch["x"]
            for _ in range(times):
                x = nn.Dense(width or 3, use_bias=train)(x)
            assert mode == "tanh"
            return nn.Dropout(0.5, deterministic=not train)(jnp.tanh(x))

    batch = {"x": jax.ShapeDtypeStruct((1, 3), jnp.float32), "mask": None}
    assert ex.explore(Repeated(), batch, 2, mode="tanh").num_parameters == 18
    assert ex.explore(Repeated(), batch, 2, mode="tanh", train=True).num_biases == 6


def test_another_method_may_be_called():
    class Coder(nn.Module):
        def setup(self):
            self.encoder, self.decoder = nn.Dense(2), nn.Dense(5)

        def __call__(self, x):
            return self.decoder(self.encoder(x))

        def encode(self, x):
            return self.encoder(x)

    x = jax.ShapeDtypeStruct((1, 3), jnp.float32)
    assert ex.explore(Coder(), x).num_parameters == 8 + 15
    assert ex.explore(Coder(), x, method="encode").num_parameters == 8


def test_every_random_stream_has_a_key():
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x):
            noise = jax.random.normal(self.make_rng("noise"), x.shape)
            return nn.Dense(2)(nn.Dropout(0.5, deterministic=False)(x + noise))

    assert (
        ex.explore(Noisy(), jax.ShapeDtypeStruct((1, 3), jnp.float32)).num_parameters == 8
    )


def test_a_model_of_any_size_costs_no_memory():
    class Large(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            x = nn.Embed(128_000, 65_536, param_dtype=jnp.bfloat16)(tokens)
            return nn.Dense(1_000_000, use_bias=False)(x)

    before = len(jax.live_arrays())
    inventory = ex.explore(Large(), jax.ShapeDtypeStruct((1, 8), jnp.int32))
    assert inventory.num_parameters == 65_536 * (128_000 + 1_000_000)
    assert inventory.nbytes == 65_536 * (2 * 128_000 + 4 * 1_000_000)
    assert len(jax.live_arrays()) == before


def test_axes_of_boxes_are_kept_through_scan():
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            def body(block, x, _):
                return block(x), None

            init = nn.with_logical_partitioning(nn.initializers.ones, ("embed", "mlp"))
            stacked = nn.scan(
                body,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=5,
                metadata_params={nn.PARTITION_NAME: "layers"},
            )
            return stacked(nn.Dense(3, kernel_init=init), x, None)[0]

    listing = read(Stack(), jax.ShapeDtypeStruct((1, 3), jnp.float32))
    (key,) = listing.shardings
    assert key[-1] == "kernel"
    assert listing.shardings[key] == Sharding("(layers, embed, mlp)")
    assert listing.shapes[listing.keys.index(key)] == (5, 3, 3)


def test_bound_modules_show_their_variables():
    module = zoo.MLP()
    variables = zoo.variables(module, zoo.array(1, 3))
    inventory = ex.explore(module.bind(variables))
    assert inventory.source == "flax linen"
    assert inventory.tensors == ex.explore(variables).tensors


def test_modules_that_take_no_inputs_need_none():
    class Table(nn.Module):
        @nn.compact
        def __call__(self, scale=1.0):
            return scale * self.param("table", nn.initializers.ones, (4, 2))

    assert ex.explore(Table()).num_parameters == 8


def test_a_module_without_inputs_says_what_to_give():
    with pytest.raises(TreeError) as caught:
        read(zoo.MLP())
    assert str(caught.value) == (
        "MLP: a Linen module without example inputs; expected inputs of its __call__: "
        "a module makes its variables when it is called; "
        "explore(module, jax.ShapeDtypeStruct((1, 128), jnp.int32))"
    )


def test_a_call_that_fails_is_shown_in_one_line():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, y, train):
            raise ValueError(f"no such width: {x.shape[-1]}\nsecond line")

    shape = jax.ShapeDtypeStruct((2, 3), jnp.bfloat16)
    with pytest.raises(InputError) as caught:
        read(Net(), shape, {"y": [shape, None]}, train=True)
    assert str(caught.value) == (
        "Net: cannot be called with (bfloat16[2,3], {'y': ['bfloat16[2,3]', None]}, "
        "train=True): no such width: 3; pass what its __call__ takes"
    )
    assert isinstance(caught.value.__cause__, ValueError)


def test_wrong_shapes_are_reported_by_flax_and_by_the_call():
    class Fixed(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x @ self.param("kernel", nn.initializers.ones, (4, 2))

    with pytest.raises(
        InputError, match=r"^Fixed: cannot be called with \(float32\[1,3\]\): "
    ):
        read(Fixed(), jnp.ones((1, 3)))


def test_too_many_inputs_are_reported():
    with pytest.raises(
        InputError, match=r"with \(int32\[3\], 4\): .*takes 2 positional arg"
    ):
        read(nn.Dense(3), jnp.ones(3, "int32"), 4)
