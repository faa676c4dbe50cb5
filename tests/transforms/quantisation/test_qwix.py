"""qwix's arrays: read by their class, without qwix; the fields that `to_qwix` gives them."""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError, MissingPackageError
from explorer.transforms.quantisation.quantized import Quantized
from explorer.transforms.quantisation.qwix_arrays import qwix_fields, to_qwix


class QArray(NamedTuple):
    """The fields of qwix 0.1.8's class, a pytree of the same names."""

    qvalue: Any
    scale: Any
    zero_point: Any = None


QArray.__module__ = "qwix._src.core.qarray"
WEIGHTS = np.random.default_rng(0).normal(0, 0.02, (128, 64)).astype(np.float32)


@pytest.mark.parametrize(
    "scheme",
    ["int8", "int8:asym", "int8:g32", "int4:g32", "int4:g32:asym", "fp8", "fp8:channel"],
)
def test_fields_stand_for_the_same_weights(scheme: str):
    tensor = Quantized.of(WEIGHTS, scheme, inputs_first=True)
    fields = qwix_fields(tensor)
    assert fields["qvalue"].shape == WEIGHTS.shape
    array = QArray(fields["qvalue"], fields["scale"], fields["zero_point"])
    assert (
        fields["zero_point"] is None or fields["zero_point"].dtype == fields["qvalue"].dtype
    )
    found = ex.dequantize({"kernel": array})["kernel"]
    np.testing.assert_allclose(
        np.asarray(found, np.float32), tensor.dequantize(), rtol=2**-8, atol=1e-7
    )


def test_trees_are_counted_right_and_not_quantised_again():
    array = QArray(jnp.ones((128, 64), jnp.int8), jnp.ones((1, 64)))
    tree = {"mlp": {"up": {"kernel": array, "bias": jnp.zeros(64)}}}
    assert ex.count_parameters(tree) == 128 * 64 + 64
    with pytest.raises(InputError, match="is quantised already"):
        ex.quantize(tree, "int8")
    assert jax.tree.map(jnp.shape, ex.dequantize(tree))["mlp"]["up"]["kernel"] == (128, 64)


def test_schemes_that_qwix_has_no_array_for():
    with pytest.raises(InputError, match="qwix has no array for Quantized"):
        qwix_fields(Quantized.of(WEIGHTS, "nf4"))


def test_qwix_is_needed_to_make_its_arrays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(MissingPackageError, match="pip install qwix"):
        to_qwix({"kernel": Quantized.of(WEIGHTS, "int8")})
