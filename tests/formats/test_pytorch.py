"""PyTorch files: what torch wrote reads as torch says; what torch cannot write is refused.

The files in tests/data/pytorch and the figures beside them come from PyTorch 2.13
(make.py there); nothing here needs it.
"""

import json
import subprocess
import sys
import zipfile
from math import prod
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.errors import UnsafePickleError
from explorer.formats.pytorch import read, values
from explorer.inventory.tensor import Tie
from explorer.paths import Key
from tests.formats.large_files import CODE
from tests.formats.torch_bytes import (
    Call,
    Named,
    Stored,
    pickled,
    storage,
    tensor,
    write_legacy,
    write_zip,
    zeros,
)

DATA = Path(__file__).parents[1] / "data/pytorch"
FACTS = json.loads((DATA / "facts.json").read_text())["files"]


def key_of(key: str | list[str]) -> Key:
    return key if isinstance(key, str) else tuple(key)


def as_doubles(array: np.ndarray) -> list[float]:
    """The values as torch's .double() gives them, a complex number being two."""
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], axis=-1)
    return array.astype(np.float64).flatten().tolist()


# What torch wrote


@pytest.mark.parametrize("name", FACTS)
def test_headers_are_what_torch_says(name: str):
    tensors = FACTS[name]["tensors"]
    listing = read(str(DATA / name))
    assert listing.keys == [key_of(key) for key, *_ in tensors]
    assert listing.shapes == [tuple(shape) for _, shape, *_ in tensors]
    assert listing.dtypes == [dtype for _, _, dtype, _ in tensors]
    assert (listing.files, listing.file_bytes) == (1, (DATA / name).stat().st_size)
    assert all(type(count) is int for count in listing.nbytes)


@pytest.mark.parametrize("name", FACTS)
def test_values_are_what_torch_says(name: str):
    arrays = values(str(DATA / name), lambda key: key != "meta")
    for key, shape, _, expected in FACTS[name]["tensors"]:
        if key != "meta":
            array = arrays[key_of(key)]
            assert array.shape == tuple(shape)
            assert as_doubles(array) == expected, key


@pytest.mark.parametrize("name", FACTS)
def test_ties_and_collections_are_what_torch_says(name: str):
    listing = read(str(DATA / name))
    expected = {frozenset(map(key_of, tie)) for tie in FACTS[name]["ties"]}
    assert {frozenset(tie.keys) for tie in listing.ties} == expected
    if "collections" in FACTS[name]:
        assert listing.collections == FACTS[name]["collections"]


def test_only_wanted_values_come():
    path = str(DATA / "state_dict.pt")
    assert list(values(path, lambda key: "norm" in key)) == ["norm.weight", "norm.bias"]


def test_a_state_dict_has_no_collections_and_its_first_key_counts():
    listing = read(str(DATA / "state_dict.pt"))
    assert listing.format == "pytorch zip"
    assert listing.collections is None
    assert listing.ties[0] == Tie(
        ("bias", "head.bias"), "same storage in the file", shown=True
    )


@pytest.mark.parametrize("name", ["views.pt", "views_legacy.pt"])
def test_views_are_explained(name: str):
    listing = read(str(DATA / name))
    nbytes = dict(zip(listing.keys, listing.nbytes, strict=True))
    assert nbytes["part"] == 40
    assert nbytes["repeated"] == 4  # five elements over one
    assert listing.ties == [
        Tie(("flat", "row", "turned"), "same storage in the file", shown=True)
    ]
    assert listing.remarks == [
        "left and right are overlapping views of one storage and both are counted",
        "part uses 40 of the 4,000 bytes of a storage that the file stores in full; "
        "save a clone() to drop the rest",
    ]


def test_formats_are_named():
    formats = {name: read(str(DATA / name)).format for name in FACTS}
    assert formats["legacy.pt"] == "pytorch legacy"
    assert formats["script.jit"] == formats["frozen.jit"] == "torchscript"


def test_a_training_checkpoint_says_what_it_holds():
    listing = read(str(DATA / "training.ckpt"))
    assert listing.metadata == {"epoch": "3", "arch": "tiny"}
    assert listing.remarks == [
        "a moving average of the parameters (from model_ema/0/weight on, 7 in all) "
        "is a second copy, listed separately"
    ]


def test_a_module_tensor_on_no_list_is_not_a_state_of_a_script():
    # "state" is a plain attribute: torch's state_dict() leaves it out, and so do we
    assert ("state",) not in read(str(DATA / "script.jit")).keys


def test_constants_of_a_script_are_remarked():
    remarks = read(str(DATA / "traced.jit")).remarks
    assert remarks == ["8 bytes of constants of the program are not listed"]


@pytest.mark.parametrize(("learned", "frozen"), [((True, False), 5), ((True, True), 0)])
def test_parameters_without_gradient_are_counted_and_said(learned, frozen: int, tmp_path):
    """`requires_grad` is the fifth argument of _rebuild_tensor_v2, in scripts too."""
    weights = {}
    for key, size, has_gradient in zip("ab", (12, 5), learned, strict=True):
        whole = tensor(key, (size,))
        arguments = (*whole.arguments[:4], has_gradient, False)
        weights[f"weight_{key}"] = whole._replace(arguments=arguments)
    path = tmp_path / "script.pt"
    write_zip(
        path,
        Call("__torch__", "M", (), weights),
        {"a": zeros(12), "b": zeros(5)},
        constants__pkl=b"\x80\x02).",
    )
    with zipfile.ZipFile(path, "a") as archive:
        code = CODE.format('"weight_a", "weight_b", ')
        archive.writestr("archive/code/__torch__.py", code)
    ledger = ex.ledger(path)
    assert (ledger.parameters, ledger.provenance["parameters"]) == (17, "exact")
    said = [note for note in ledger.notes if "requires_grad=False" in note]
    assert len(said) == bool(frozen)
    assert all(
        note.startswith(f"{frozen} elements are of parameters with") for note in said
    )


def test_a_whole_module_is_refused_by_its_class():
    with pytest.raises(UnsafePickleError) as error:
        read(str(DATA / "module.pt"))
    assert str(error.value) == (
        f"{DATA / 'module.pt'}: names torch.nn.modules.linear.Linear, which is not a part of a "
        "tensor; nothing was run; expected tensors, numbers, text and plain containers; if "
        "you trust its author, load it where it was made and save the state_dict()"
    )


def test_reading_a_header_loads_neither_numpy_nor_jax():
    code = (
        "import sys; from explorer.formats.pytorch import read; read(sys.argv[1]); "
        "print({'numpy', 'jax', 'torch', 'ml_dtypes', 'pickle'} & set(sys.modules))"
    )
    path = str(DATA / "training.ckpt")
    result = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True
    )
    assert result.stdout.strip() == "set()", result.stderr


# What training loops put together


def nested_keys(tmp_path: Path, root: dict) -> dict[Key, str]:
    listing = read(write_zip(tmp_path / "x.pt", root, {"0": zeros(2)}))
    return dict(zip(listing.keys, listing.collections or [""] * 99, strict=False))


ONE = tensor("0", (2,))


@pytest.mark.parametrize(
    ("root", "key", "collection"),
    [
        ({"state_dict": {"a.w": ONE}}, ("state_dict", "a", "w"), ""),
        ({"module": {"w": ONE}, "optimizer": {"q": [ONE]}}, ("optimizer", "q", "0"), "opt_state"),
        ({"optimizer_states": [{"state": {0: {"m": ONE}}}]},
         ("optimizer_states", "0", "state", "0", "m"), "opt_state"),
        ({"inner": {"state": {7: {"m": ONE}}, "param_groups": []}},
         ("inner", "state", "7", "m"), "opt_state"),
        ({"callbacks": {"best": {"score": ONE}}}, ("callbacks", "best", "score"),
         "training_state"),
        ({"lr_scheduler": {"x": ONE}}, ("lr_scheduler", "x"), "training_state"),
        ({"model": {"w": ONE}, "ema": {"w": ONE}}, ("ema", "w"), "ema"),
        ({"state_dict": {"w": ONE, "model_ema.w": ONE}}, ("state_dict", "model_ema", "w"), "ema"),
        ({"params_ema": {"w": ONE}}, ("params_ema", "w"), ""),  # nothing else was kept
        ({"args": Call("argparse", "Namespace", (), {"w": ONE, "lr": 0.1})},
         ("args", "w"), "training_state"),
        ({"rng": 1, "torch_rng_state": ONE}, "torch_rng_state", "rng_state"),
        ({(1, "a"): {b"b": ONE}}, ("1,a", "b"), ""),
    ],
)  # fmt: skip
def test_nested_keys_and_their_collections(tmp_path, root, key, collection):
    assert nested_keys(tmp_path, root)[key] == collection


def test_dotted_and_nested_names_that_meet_stay_separate(tmp_path):
    root = {"m": {"a": {"b": ONE}, "a.b": ONE}}
    assert list(nested_keys(tmp_path, root)) == [("m", "a", "b"), ("m", "a.b")]


def test_a_python_2_ordered_dict_is_a_list_of_pairs(tmp_path):
    root = Call("collections", "OrderedDict", ([["w", ONE], ["v", ONE]],))
    assert list(nested_keys(tmp_path, root)) == ["w", "v"]


# Storages


def test_two_thousand_elements_drag_four_megabytes_along(tmp_path):
    root = {"w": tensor("0", (2000,), size=1_000_000, offset=500)}
    listing = read(write_zip(tmp_path / "x.pt", root, {"0": zeros(1_000_000)}))
    assert listing.nbytes == [8_000]
    assert "w uses 8,000 of the 4,000,000 bytes" in listing.remarks[0]


def test_storages_that_nothing_uses_are_remarked(tmp_path):
    listing = read(write_zip(tmp_path / "x.pt", {"w": ONE}, {"0": zeros(2), "9": b"12345"}))
    assert listing.remarks == ["5 stored bytes belong to no listed tensor"]


def test_many_wasteful_views_are_summed_up(tmp_path):
    root = {f"w{i}": tensor(str(i), (1,), size=2 + i) for i in range(9)}
    storages = {str(i): zeros(2 + i) for i in range(9)}
    remarks = read(write_zip(tmp_path / "x.pt", root, storages)).remarks
    assert len(remarks) == 6
    assert remarks[0].startswith("w8 uses 4 of the 40 bytes")
    assert remarks[-1] == "4 more storages that are used in part"


@pytest.mark.parametrize(
    ("first", "second", "overlapping"),
    [
        (((6, 3), (6, 1), 0), ((6, 3), (6, 1), 3), False),  # halves of the columns
        (((6, 4), (6, 1), 0), ((6, 3), (6, 1), 3), True),
        (((3,), (2,), 0), ((3,), (2,), 1), False),  # even and odd
        (((3, 2), (2, 1), 0), ((3, 2), (2, 1), 6), False),  # halves of the rows
        (((4,), (1,), 0), ((4,), (1,), 3), True),
        (((2, 2, 2), (12, 3, 1), 0), ((2, 2, 1), (12, 3, 1), 2), False),
        (((6, 3), (6, 1), 0), ((3, 6), (1, 6), 0), True),  # one is the other, turned
    ],
)
def test_overlap_is_what_element_sets_say(tmp_path, first, second, overlapping):
    def elements(shape, stride, offset):
        return {offset + int(np.dot(at, stride)) for at in np.ndindex(*shape)}

    assert bool(elements(*first) & elements(*second)) == overlapping  # the oracle
    one, other = (
        tensor("0", shape, stride, offset, size=36)
        for shape, stride, offset in (first, second)
    )
    listing = read(write_zip(tmp_path / "x.pt", {"a": one, "b": other}, {"0": zeros(36)}))
    assert any("overlapping" in remark for remark in listing.remarks) == overlapping
    assert listing.ties == []


def test_the_owner_of_a_tie_is_the_model_not_its_optimizer(tmp_path):
    root = {"optimizer": {"w": ONE}, "model": {"w": ONE}}
    listing = read(write_zip(tmp_path / "x.pt", root, {"0": zeros(2)}))
    assert listing.ties[0].keys == (("model", "w"), ("optimizer", "w"))


def test_a_parameter_inside_an_optimizers_buffer_still_counts(tmp_path):
    root = {
        "optimizer": {"flat": tensor("0", (8,))},
        "model": {"w": tensor("0", (2,), size=8)},
    }
    listing = read(write_zip(tmp_path / "x.pt", root, {"0": zeros(8)}))
    assert listing.ties == []
    assert "overlapping views" in listing.remarks[0]


def test_packed_archives_and_big_endian_numbers_read_equally(tmp_path):
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    waves = np.array([1 + 2j, -3j], np.complex64)
    root = {
        "w": tensor("0", (2, 3)),
        "z": tensor("1", (2,), kind="ComplexFloat"),
        "b": tensor("2", (2,), kind="BFloat16"),
    }
    halves = np.array([0x3F80, 0x4000], np.uint16)  # 1 and 2
    big = {
        "0": numbers.astype(">f4").tobytes(),
        "1": waves.astype(">c8").tobytes(),
        "2": halves.astype(">u2").tobytes(),
    }
    little = {"0": numbers.tobytes(), "1": waves.tobytes(), "2": halves.tobytes()}
    packed = zipfile.ZIP_DEFLATED
    for path in (
        write_zip(tmp_path / "big.pt", root, big, byteorder=b"big"),
        write_zip(tmp_path / "little.pt", root, little, packed, byteorder=b"little"),
        write_zip(tmp_path / "old.pt", root, little),
    ):
        arrays = values(path, lambda key: True)
        np.testing.assert_array_equal(arrays["w"], numbers)
        np.testing.assert_array_equal(arrays["z"], waves)
        assert as_doubles(arrays["b"]) == [1.0, 2.0]


def test_four_bit_numbers_count_one_by_one(tmp_path):
    fp4 = Call(
        "torch._utils", "_rebuild_tensor_v3",
        (storage("0", 2, "Untyped"), 0, (1, 2), (2, 1), False, None,
         Named("torch", "float4_e2m1fn_x2")),
    )  # fmt: skip
    quint4 = Call(
        "torch._utils", "_rebuild_qtensor",
        (storage("1", 2, "QUInt4x2"), 0, (3,), (1,), (Named("torch", "per_tensor_affine"), 0.1, 0),
         False, None),
    )  # fmt: skip
    path = write_zip(
        tmp_path / "x.pt", {"f": fp4, "q": quint4}, {"0": b"\x21\x43", "1": b"\x21\x03"}
    )
    listing = read(path)
    assert listing.dtypes == ["float4_e2m1fn", "quint4x2"]
    assert (listing.shapes, listing.nbytes) == ([(1, 4), (3,)], [2, 2])
    arrays = values(path, lambda key: True)
    assert as_doubles(arrays["f"]) == [0.5, 1.0, 1.5, 2.0]  # codes 1 2 3 4 of e2m1
    assert as_doubles(arrays["q"]) == [1, 2, 3]


def test_a_legacy_view_of_a_storage(tmp_path):
    of = ("storage", Named("torch", "FloatStorage"), "10", "cpu", 6, ("11", 2, 4))
    arguments = (Stored(of), 1, (2,), (1,))
    root = {"w": Call("torch._utils", "_rebuild_tensor", arguments)}
    data = np.arange(6, dtype=np.float32).tobytes()
    path = write_legacy(tmp_path / "x.pt", root, {"10": (6, data)})
    assert as_doubles(values(path, lambda key: True)["w"]) == [3.0, 4.0]


def test_meta_values_are_refused():
    with pytest.raises(
        Exception, match="'meta' is on the meta device; expected a tensor with"
    ):
        values(str(DATA / "formats.pt"), lambda key: key == "meta")


def test_no_tensor_byte_is_read(tmp_path):
    # a sparse legacy file of a terabyte: only its sizes are read
    count = 1 << 38
    path = Path(
        write_legacy(tmp_path / "x.pt", {"w": tensor("1", (count,))}, {"1": (count, b"")})
    )
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size + 4 * count)
    listing = read(str(path))
    assert listing.nbytes == [1 << 40]
    assert prod(listing.shapes[0]) == count


def test_ten_thousand_tensors_keep_their_order(tmp_path):
    root = {f"layer.{i}.weight": tensor(str(i % 7), (2,)) for i in range(10_000)}
    path = write_zip(tmp_path / "x.pt", root, {str(i): zeros(2) for i in range(7)})
    listing = read(path)
    assert listing.keys == list(root)
    assert sum(len(tie.keys) for tie in listing.ties) == 10_000
    assert len(pickled(root)) > 1_000_000
