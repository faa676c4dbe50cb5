"""Every family answers as its reference implementation: same logits, same experts chosen.

The goldens are transformers' own answers (Grok-1's those of a float64 NumPy forward) for
tiny random models; tests/conformance holds how they were made. Published models differ
from these in size alone.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.architectures.families import SUPPORTED
from explorer.pretrained import from_tensors
from tests.conformance import goldens
from tests.conformance.cases import CASES, Case, inputs_of
from tests.conformance.weights import weights_of

pytestmark = pytest.mark.slow  # compiles models

_TOLERANCE = 2e-5  # relative to the largest value; 4e-6 is what rounding makes
_CROSSED = ("gpt2", "phi3_longrope_long", "gemma2", "mixtral")
# three quarters of the time would be the compiler's, on programs that run once
_QUICK: dict[str, str | bool | int] = {
    "xla_backend_optimization_level": "0",
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


@cache
def _options() -> dict[str, str | bool | int]:
    """Return those of the compiler's options that it knows: they come and go."""

    def known(name: str) -> bool:
        try:
            jax.jit(jnp.sin).lower(0.0).compile(compiler_options={name: _QUICK[name]})
        except jax.errors.JaxRuntimeError:
            return False
        return True

    return {name: value for name, value in _QUICK.items() if known(name)}


def _answer(case: Case, *, scan: bool, jit: bool) -> goldens.Outputs:
    """Return what explorer's model answers, in the goldens' terms."""
    _, shapes = goldens.read(case.name)
    weights = weights_of(shapes, case.model_type)
    module, params = from_tensors(case.config, weights, scan=scan)

    def run(params, seen, beside):
        return module.apply({"params": params}, seen, **beside, mutable=["intermediates"])

    beside = inputs_of(case)
    seen = beside.pop("pixel_values" if "pixel_values" in beside else "input_ids")
    if jit:
        run = jax.jit(run).lower(params, seen, beside).compile(compiler_options=_options())
    answer, state = run(params, seen, beside)
    names = ("logits", "hidden", "pooled", "relationship")
    found = {name: getattr(answer, name) for name in names}
    found = {name: np.asarray(array) for name, array in found.items() if array is not None}
    chosen = [
        np.asarray(leaf)
        for keys, leaf in jax.tree_util.tree_flatten_with_path(state)[0]
        if keys[-2].key == "expert_indices"
    ]
    if chosen:
        # [layers, batch, length, k] where layers are stacked, [batch, length, k] where not
        found["experts"] = np.concatenate([c.reshape(-1, *c.shape[-3:]) for c in chosen])
    return goldens.comparable(case, found)


def _agree(case: Case, found: goldens.Outputs) -> None:
    golden, _ = goldens.read(case.name)
    assert found.keys() == golden.keys()
    if "experts" in golden:
        # stacked layers of one kind come together: the same layers, in whatever order
        layers = [
            sorted(each.tobytes() for each in o.pop("experts")) for o in (found, golden)
        ]
        assert layers[0] == layers[1]
    far = {name: goldens.difference(found[name], golden[name]) for name in golden}
    assert max(far.values()) < _TOLERANCE, far


# every case is run in one of the two forms; in both by `make thorough`
_NAMES = [case.name for case in CASES]


@pytest.mark.representatives(*_NAMES[::2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_layer_on_its_own(case: Case):
    _agree(case, _answer(case, scan=False, jit=False))


@pytest.mark.representatives(*_NAMES[1::2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stacked_layers_under_jit(case: Case):
    _agree(case, _answer(case, scan=True, jit=True))


@pytest.mark.parametrize("scan", [False, True], ids=["unrolled", "scanned"])
@pytest.mark.parametrize("name", _CROSSED)
def test_jit_changes_nothing(name: str, scan: bool):
    (case,) = (case for case in CASES if case.name == name)
    _agree(case, _answer(case, scan=scan, jit=not scan))


def test_every_family_has_a_golden():
    assert {case.model_type for case in CASES} == set(SUPPORTED)
