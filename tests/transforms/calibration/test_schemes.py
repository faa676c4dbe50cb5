"""Calibrated trees: codes on the schemes' own grids, less lost on data, and files that are read again."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import explorer as ex
from explorer.api.writing import quantize_file
from explorer.errors import InputError, TreeError
from explorer.transforms.calibration.quantising import gptq_model
from explorer.transforms.calibration.schemes import calibrated
from tests.cli.in_process import run
from tests.conformance import configs
from tests.transforms.calibration.test_models import made


def lost(model: Any, before: Any, after: Any, ids: Any) -> float:
    evaluate = ex.Evaluator(model, ids)
    return evaluate.compare(before, ex.dequantize(after)).divergence


def with_outliers(params: Any) -> Any:
    """Parameters whose norms make some inputs large, as those of trained models do."""
    rng = np.random.default_rng(7)

    def each(keys: Any, leaf: Any) -> Any:
        if keys[-1].key != "scale":
            return leaf
        return leaf * np.exp(rng.normal(size=leaf.shape)).astype("float32")

    return jax.tree_util.tree_map_with_path(each, params)


@pytest.mark.parametrize("method", ["gptq", "awq"])
@pytest.mark.parametrize("scheme", ["int4:g8", "int4:g8:asym"])
def test_less_is_lost_than_by_rounding(method: str, scheme: str):
    model, params, ids = made("LLAMA")
    params = with_outliers(params)
    nearest, _ = ex.quantize(params, scheme)
    tree, change = ex.quantize(
        params, scheme, model=model, calibrate=ex.Calibration(method, ids)
    )
    assert change.transform == f"quantize {scheme} by {method}"
    assert change.bytes_after == ex.count_bytes(tree)
    plain = ex.quantize(params, scheme)[1]
    assert change.bytes_after == plain.bytes_after
    assert lost(model, params, tree, ids) < lost(model, params, nearest, ids)


@pytest.mark.parametrize("scheme", ["int4:g8", "int4:g8:asym", "int4:channel", "int8:g8"])
def test_trees_hold_the_codes_of_gptq(scheme: str):
    """What scales, codes and zero points stand for, in float64, is what later layers were given."""
    model, params, ids = made("LLAMA")
    found = calibrated(model, params, scheme, ex.Calibration("gptq", ids))
    kernel = found.kernels["layers_1/mlp/down_proj/kernel"]
    codes = np.asarray(kernel.parts["values"]).astype(int)
    if scheme.startswith("int4"):
        codes = np.stack([codes & 15, codes >> 4], -1).reshape(len(codes), -1) - 8
    scales = np.asarray(kernel.parts["scales"]).astype(float)
    groups = codes.reshape(len(codes), scales.shape[1], -1).astype(float)
    if "asym" in scheme:
        groups -= np.asarray(kernel.parts["zero_points"]).astype(float)[:, :, None]
    values = (groups * scales[:, :, None]).reshape(codes.shape)
    np.testing.assert_allclose(np.asarray(kernel), values.T, rtol=1e-6)
    # the first group has no error of others in it: its scales are those of rounding
    plain = ex.quantize(params, scheme)[0]["layers_1"]["mlp"]["down_proj"]["kernel"]
    first = np.asarray(kernel.parts["scales"])[:, 0].astype(float)
    assert np.array_equal(first, np.asarray(plain.parts["scales"])[:, 0].astype(float))


def test_later_layers_are_calibrated_on_quantised_ones():
    """The same as GPTQ of the model, its grid that of the scheme."""
    model, params, ids = made("LLAMA")
    found = calibrated(model, params, "int4:g8", ex.Calibration("gptq", ids))
    own = gptq_model(model, params, ids, 4, 8, symmetric=True)
    first = found.kernels["layers_0/attention/query/kernel"]
    theirs = own.kernels["layers_0/attention/query/kernel"]
    # scales in 16 bits: at most one part in 128 larger
    ratio = np.asarray(first.parts["scales"]).astype(float)[:, 0] / theirs.scales[:, 0]
    assert ((ratio >= 1) & (ratio <= 1 + 1 / 128)).all()


def test_experts_are_rounded():
    model, params, ids = made("MIXTRAL")
    tree, change = ex.quantize(
        {"params": params}, "int4:g8", model=model, calibrate=ex.Calibration("gptq", ids)
    )
    plain, _ = ex.quantize({"params": params}, "int4:g8")
    expert = lambda t: t["params"]["layers_0"]["moe"]["experts"]["up_proj"]["kernel"]  # noqa: E731
    assert np.array_equal(np.asarray(expert(tree)), np.asarray(expert(plain)))
    assert any("other matrices rounded to nearest" in note for note in change.notes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as a Hugging Face folder, with a tokenizer of words."""
    path = tmp_path_factory.mktemp("calibrated") / "model"
    _, params, _ = made("LLAMA")
    ex.save(params, path, config=dict(configs.LLAMA))
    words = {f"w{number}": number for number in range(configs.VOCAB)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(path / "tokenizer.json"))
    rng = np.random.default_rng(0)
    text = " ".join(f"w{number}" for number in rng.integers(1, configs.VOCAB, 400))
    (path.parent / "text.txt").write_text(text)
    return path


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_folder_that_is_read_again(method: str, folder: Path, tmp_path: Path):
    _, _, ids = made("LLAMA")
    calibration = ex.Calibration(method, ids)
    change = quantize_file(folder, "int4:g8", tmp_path / "new", calibrate=calibration)
    tree, _ = ex.quantize(folder, "int4:g8", calibrate=calibration)
    _, params = ex.load_pretrained(tmp_path / "new")
    jax.tree.map(np.testing.assert_array_equal, params, ex.dequantize(tree))
    assert change.bytes_after == sum(
        each.bytes_after for each in ex.quantize(folder, "int4:g8")[1].tensors
    )
    assert ex.explore(tmp_path / "new").num_parameters == change.parameters_after


def test_the_command(folder: Path, tmp_path: Path):
    text = folder.parent / "text.txt"
    given = ("--by", "gptq", "--calibrate", text, "--sequences", 4, "--length", 16)
    done = run("quantize", folder, "--to", "int4:g8", *given, "-o", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert "quantize int4:g8 by gptq" in done.stdout
    assert "gptq: 14 kernels calibrated" in done.stdout
    assert ex.load_pretrained(tmp_path / "new")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--to", "nf4", "--by", "gptq"), "scheme: nf4, which gptq does not calibrate; expected int4"),
        (("--to", "Q4_K_M", "--by", "awq"), "scheme: Q4_K_M, which awq does not calibrate"),
        (("--to", "int8", "--by", "gptq"), "scheme: int8, which gptq does not calibrate"),
        (("--to", "int4:g8", "--by", "gtpq"), "method: is 'gtpq'; expected gptq or awq; did you mean gptq?"),
        (("--to", "int4:g24", "--by", "gptq"), "24 for 32 inputs; expected a divisor"),
        (("--to", "gptq", "--by", "gptq"), "--to int4:g128 --by gptq --calibrate TEXT.txt"),
    ],
)  # fmt: skip
def test_commands_that_are_refused(
    words: tuple[str, ...], expected: str, folder: Path, tmp_path: Path
):
    text = ("--calibrate", folder.parent / "text.txt", "--length", 16)
    done = run("quantize", folder, *words, *text, "-o", tmp_path / "new")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert expected in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_method_needs_a_text(folder: Path, tmp_path: Path):
    done = run("quantize", folder, "--to", "int4", "--by", "gptq", "-o", tmp_path / "new")
    assert done.returncode == 2
    assert "need each other" in done.stderr


def test_arguments_of_calibration():
    model, params, ids = made("LLAMA")

    def quantised(given: Any, scheme: Any = "int4:g8", **more: Any) -> Any:
        return ex.quantize(params, scheme, calibrate=given, **{"model": model, **more})

    with pytest.raises(TreeError, match="calibrate: is 'gptq'; expected Calibration"):
        quantised("gptq")
    with pytest.raises(TreeError, match="method: is 4; expected gptq or awq"):
        quantised(ex.Calibration(4, ids))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="model: is NoneType; expected one of explorer's"):
        quantised(ex.Calibration("gptq", ids), model=None)
    with pytest.raises(InputError, match="scheme: a scheme for each tensor, which gptq"):
        quantised(ex.Calibration("gptq", ids), {"embed/embedding": "int4"})
    with pytest.raises(InputError, match=r"select: is .*, with gptq, which calibrates all"):
        quantised(ex.Calibration("gptq", ids), select="**")
    with pytest.raises(InputError, match="data: no calibration data"):
        quantised(ex.Calibration("gptq", None))
