"""Codes of vectors and trellises: shapes that the writing code gives, counted by hand."""

import pytest

from tests.identify.packing.layouts import Layout, counted, find_in, read

OUT, IN = 256, 128


def exl3(bits: float, mark: str = "mcg") -> Layout:
    # exllamav3's LinearEXL3: 16 x bits words of 16 bits for a tile of 16 x 16 weights
    return {
        "q_proj.trellis": ((IN // 16, OUT // 16, int(16 * bits)), "int16"),
        "q_proj.suh": ((IN,), "float16"),
        "q_proj.svh": ((OUT,), "float16"),
        f"q_proj.{mark}": ((), "int32"),
    }


@pytest.mark.parametrize("bits", [1, 2, 2.5, 3, 4, 6, 8])
def test_exl3_counts_the_weights_of_its_tiles(bits: float):
    layer = exl3(bits, mark="mul1")
    assert counted(layer) == (OUT * IN, ())
    packed = read(layer)["q_proj.trellis"]
    assert packed.shape == (OUT, IN)
    assert packed.rule == f"EXL3, {bits:g} bits a weight"
    assert packed.path == ("q_proj", "weight")


def test_the_first_exl3_files_keep_signs_as_bits():
    layer: Layout = {
        "q.trellis": ((8, 16, 64), "int16"),
        "q.su": ((8,), "int16"),
        "q.sv": ((16,), "int16"),
        "q.bias": ((256,), "float16"),
    }
    assert counted(layer) == (32_768 + 256, ())


def test_qtip_and_quip_take_their_shape_from_the_signs():
    qtip: Layout = {  # 16 x 16 tiles, 2 bits a weight: 32 words of 16 bits
        "q.trellis": ((OUT // 16 * IN // 16, 32), "int16"),
        "q.SU": ((IN,), "float16"),
        "q.SV": ((OUT,), "float32"),
        "q.tlut": ((512, 2), "float16"),
        "q.rcp": ((), "int64"),
        "q.tp_rank": ((), "int64"),
    }
    assert counted(qtip) == (OUT * IN, ())
    assert read(qtip)["q.trellis"].rule == "QTIP, 2 bits a weight"
    for words, dtype, bits in ((IN // 8, "int16", 2), (IN // 16, "int64", 4)):
        quip: Layout = {
            "q.Qidxs": ((OUT, words), dtype),
            "q.SU": ((IN,), "float16"),
            "q.SV": ((OUT,), "float16"),
            "q.Wscale": ((), "float32"),
            "q.codebook_id": ((), "int64"),
        }
        assert counted(quip) == (OUT * IN, ())
        assert read(quip)["q.Qidxs"].rule == f"QuIP#, {bits} bits a weight"


@pytest.mark.parametrize(
    ("groups", "books", "size", "dtype"),
    [((1, 8), 1, 65536, "int16"), ((1, 8), 2, 256, "int8"), ((4, 16), 1, 4096, "int16")],
)
def test_aqlm_counts_vectors_and_not_its_codebooks(
    groups: tuple[int, int], books: int, size: int, dtype: str
):
    out, width = groups
    layer: Layout = {
        "q.codes": ((OUT // out, IN // width, books), dtype),
        "q.codebooks": ((books, size, out, width), "float16"),
        "q.scales": ((OUT // out, 1, 1, 1), "float16"),
    }
    assert counted(layer) == (OUT * IN, ())
    assert read(layer)["q.codes"].shape == (OUT, IN)


def vptq(length: int = 8, **more: tuple[tuple[int, ...], str]) -> Layout:
    # 65,536 centroids and 256 of the residual: 24 bits for a vector of 8
    return {
        "q.indices": ((1, OUT // length, IN * 24 // 32), "int32"),
        "q.centroids.weight": ((1, 65536 * length), "float16"),
        "q.res_centroids.weight": ((1, 256 * length), "float16"),
        "q.perm": ((IN,), "int16"),
        "q.weight_scale": ((IN,), "float16"),
        "q.weight_bias": ((IN,), "float16"),
    } | {f"q.{name}": column for name, column in more.items()}


def test_vptq_takes_its_shape_from_the_config_or_the_biases():
    config = {
        "quant_method": "vptq",
        "config_for_layers": {"q": {"in_features": IN, "out_features": OUT}},
    }
    assert counted(vptq(), config) == (OUT * IN, ())
    with_bias = vptq(bias=((OUT,), "float16"))
    assert counted(with_bias) == (OUT * IN + OUT, ())
    assert read(with_bias)["q.indices"].rule == "VPTQ, 3 bits a weight"
    assert "q.bias" not in read(with_bias)


def test_vptq_without_a_shape_is_said_and_its_centroids_are_not_counted():
    total, unread = counted(vptq(), {"quant_method": "vptq"})
    assert total == 0
    assert unread == (
        "config.json announces vptq: q/indices is packed in an unknown way and not counted",
    )


def test_higgs_counts_its_weights_and_not_its_tables():
    for bits in (2, 3, 4):
        layer: Layout = {
            "q.weight": ((OUT * bits // 16, 512), "int16"),
            "q.scales": ((OUT, 512 // 256), "float16"),
            "q.tables": ((2**bits,), "float16"),
            "q.tables2": ((2**bits, 2**bits, 2), "float16"),
            "q.bias": ((OUT,), "float16"),
        }
        assert counted(layer) == (OUT * 512 + OUT, ())


def test_spqr_takes_its_shape_from_rows_and_permutation():
    layer: Layout = {  # a word for each row of a tile of 16 x 16
        "q.dense_weights": ((OUT * IN // 16,), "int64"),
        "q.row_offsets": ((OUT + 1,), "int32"),
        "q.col_vals": ((777,), "int32"),
        "q.in_perm": ((IN // 2,), "int32"),
    }
    assert counted(layer) == (OUT * IN, ())
    other = layer | {"q.row_offsets": ((4 * OUT,), "int32")}  # ordered by tiles
    assert "assumed" in read(other)["q.dense_weights"].rule
    del layer["q.in_perm"]
    assert counted(layer)[1] == (
        "q/dense_weights is packed in an unknown way and not counted",
    )


def test_a_sparse_weight_is_counted_at_its_dense_size():
    layer: Layout = {
        "q.compressed": ((12_345,), "bfloat16"),
        "q.bitmask": ((OUT, IN // 8), "uint8"),
        "q.row_offsets": ((OUT,), "int64"),
        "q.shape": ((2,), "int64"),
    }
    assert counted(layer) == (OUT * IN, ())


@pytest.mark.parametrize("ending", ["suh", "svh"])
def test_signs_of_another_length_do_not_fit(ending: str):
    layer = exl3(4) | {f"q_proj.{ending}": ((99,), "float16")}
    total, unread = counted(layer)
    assert total == 0
    assert unread == ("q_proj/trellis is packed in an unknown way and not counted",)
    assert all(p.collection == "quantization" for p in find_in(layer).packed.values())
