"""GGUF's names of tensors, and the layouts that its converters change."""

import numpy as np
import pytest

from explorer.architectures.declaration import declare
from explorer.architectures.gguf_names import InterleavedRows, RaisedGain, gguf_names
from explorer.architectures.resolve import resolve
from explorer.architectures.stored_tensors import stored_tensors


@pytest.mark.parametrize("layout", [InterleavedRows(heads=3), RaisedGain()])
def test_forms_are_their_own_inverse(layout: InterleavedRows | RaisedGain):
    leaf = np.arange(24 * 5, dtype="float32").reshape(24, 5)
    (again,) = layout.leaves(layout.store([leaf]), [leaf.shape])
    np.testing.assert_array_equal(again, leaf)


def test_every_parameter_of_a_language_model_has_a_name():
    for name in ("llama-2-7b", "deepseek-v3", "gpt-oss-20b", "gemma-3-1b", "phi-3-mini"):
        architecture = resolve(name).architecture
        stored = stored_tensors(architecture, gguf_names(architecture))
        leaves = [leaf for tensor in stored.values() for leaf in tensor.leaves]
        assert len(leaves) == len(set(leaves)), name
        assert {leaf for leaf, _, _, _ in declare(architecture)} == set(leaves), name
