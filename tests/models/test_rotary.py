"""Rotary positions: what every scaling leaves true, and what each is published to do."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from explorer.architectures.attention_specs import RopeScaling, RopeSpec
from explorer.models.rotary import frequencies, rotate, rotation_of
from tests.models.definitions import sample

N = 8
SCALINGS = {
    "none": None,
    "linear": RopeScaling("linear", 4.0),
    "dynamic": RopeScaling("dynamic", 3.0, 16),
    "llama3": RopeScaling("llama3", 8.0, 64, 1.0, 4.0),
    "yarn": RopeScaling("yarn", 4.0, 32, beta_fast=4.0, magnitude=1.2),
    "yarn untruncated": RopeScaling("yarn", 4.0, 32, truncate=False),
    "longrope": RopeScaling(
        "longrope",
        2.0,
        16,
        magnitude=1.1,
        short=(1.0, 1.5, 2.0, 2.5),
        long=(2.0, 3.0, 4.0, 5.0),
    ),
}


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("name", SCALINGS)
def test_products_depend_on_the_distance_alone(name, interleaved):
    rope = RopeSpec(N, 100.0, interleaved, SCALINGS[name])
    length = 24
    rotation = rotation_of(rope, jnp.arange(length)[None])
    query, key = (
        rotate(np.tile(sample(N + 2, seed=s), (1, length, 1, 1)), rotation, interleaved)
        for s in (1, 2)
    )
    products = np.einsum("bqhd,bkhd->qk", query, key)
    for distance in range(-length + 1, length):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)


@pytest.mark.parametrize("name", SCALINGS)
def test_a_rotation_keeps_lengths_but_for_the_magnitude(name):
    scaling = SCALINGS[name]
    rotation = rotation_of(RopeSpec(N, 100.0, scaling=scaling), jnp.arange(24)[None])
    x = sample(1, 24, 3, N + 2)
    y = np.asarray(rotate(x, rotation))
    magnitude = scaling.magnitude if scaling else 1.0
    lengths = np.linalg.norm(x[..., :N], axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(y[..., :N], axis=-1), magnitude * lengths, rtol=1e-5
    )
    np.testing.assert_array_equal(y[..., N:], x[..., N:])
    np.testing.assert_allclose(y[:, 0, :, :N], magnitude * x[:, 0, :, :N], rtol=1e-6)


def test_neighbours_rotate_as_halves_do():
    x = sample(1, 5, 2, N)
    rotation = rotation_of(RopeSpec(N), jnp.arange(5)[None])
    split = np.concatenate([x[..., ::2], x[..., 1::2]], -1)
    np.testing.assert_array_equal(rotate(x, rotation, True), rotate(split, rotation))


def rates_of(name: str, length: int = 8) -> np.ndarray:
    return np.asarray(frequencies(RopeSpec(N, 100.0, scaling=SCALINGS[name]), length))


PLAIN = 100.0 ** -np.array([0, 0.25, 0.5, 0.75])


def test_frequencies_are_a_geometric_row():
    np.testing.assert_allclose(rates_of("none"), PLAIN, rtol=1e-6)
    np.testing.assert_allclose(rates_of("linear"), PLAIN / 4, rtol=1e-6)


def test_dynamic_stretches_the_slowest_wave_by_what_is_beyond_training():
    np.testing.assert_allclose(rates_of("dynamic", 16), PLAIN, rtol=1e-6)
    longer = rates_of("dynamic", 40)
    assert longer[0] == 1.0
    np.testing.assert_allclose(longer[-1], PLAIN[-1] / (3 * 40 / 16 - 2), rtol=1e-5)


def test_llama3_keeps_short_waves_and_stretches_long_ones():
    rates, turns = rates_of("llama3"), 64 * PLAIN / (2 * math.pi)
    assert [t > 4 for t in turns] == [True, False, False, False]
    assert [t < 1 for t in turns] == [False, False, False, True]
    np.testing.assert_allclose(rates[[0, 3]], PLAIN[[0, 3]] / [1, 8], rtol=1e-6)
    assert (PLAIN[1:3] / 8 < rates[1:3]).all()
    assert (rates[1:3] < PLAIN[1:3]).all()


@pytest.mark.parametrize("name", ["yarn", "yarn untruncated"])
def test_yarn_keeps_fast_pairs_and_stretches_slow_ones(name):
    rates = rates_of(name)
    np.testing.assert_allclose(rates[0], 1.0, rtol=1e-6)
    shares = rates / PLAIN
    assert (np.diff(shares) < 1e-6).all()
    np.testing.assert_allclose(shares[-1], 0.25, rtol=1e-6)


def test_longrope_takes_long_factors_beyond_training():
    np.testing.assert_allclose(
        rates_of("longrope", 16), PLAIN / [1, 1.5, 2, 2.5], rtol=1e-6
    )
    np.testing.assert_allclose(rates_of("longrope", 17), PLAIN / [2, 3, 4, 5], rtol=1e-6)
