"""Models run under meshes of automatic and of explicit axes: the same tokens and figures."""

import json
import subprocess
import sys

import numpy as np
import pytest

import explorer as ex
from tests.generation.on_devices import PROMPTS
from tests.models.tiny import model_of
from tests.training.devices import ROOT, environment

pytestmark = pytest.mark.slow  # compiles models


def test_meshes_of_any_axes_change_no_token_and_no_figure():
    ran = subprocess.run(
        [sys.executable, "-m", "tests.generation.on_devices"],
        cwd=ROOT,
        env=environment(devices=4),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    model, variables = model_of("llama", scan=True)
    one = ex.generate(model, variables["params"], PROMPTS, max_new_tokens=4)
    assert len(found["tokens"]) == 6
    for name, tokens in found["tokens"].items():
        assert [list(row) for row in one.tokens] == tokens, name
    text, loss, vector = found["texts"].pop("none")
    assert found["texts"].keys() == {"automatic", "explicit"}
    for name, given in found["texts"].items():
        assert given[0] == text, name
        np.testing.assert_allclose(given[1], loss, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(given[2], vector, rtol=1e-4, atol=1e-6, err_msg=name)
