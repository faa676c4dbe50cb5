"""The record of a transform: its components and formats add up to its totals."""

from hypothesis import given
from hypothesis import strategies as st

from explorer.transforms.records import Change, TensorChange

_SIZES = st.integers(0, 1 << 50)
_TENSORS = st.builds(
    TensorChange,
    name=st.text(max_size=3),
    component=st.sampled_from(["attention", "mlp", "norm"]),
    shape=st.just((1,)),
    before=st.just("float32"),
    after=st.sampled_from(["q4_k", "q6_k"]),
    parameters_before=_SIZES,
    parameters_after=_SIZES,
    bytes_before=_SIZES,
    bytes_after=_SIZES,
    relative_error=st.none() | st.floats(0, 1),
)


@given(st.lists(_TENSORS).map(tuple))
def test_components_and_formats_add_up(tensors: tuple[TensorChange, ...]):
    change = Change(transform="quantize Q4_K_M", target="model", tensors=tensors)
    for field in ("parameters_before", "parameters_after", "bytes_before", "bytes_after"):
        assert sum(getattr(row, field) for row in change.by_component) == getattr(
            change, field
        )
    assert sum(row.tensors for row in change.by_component) == len(tensors)
    assert sum(change.by_type.values()) == change.bytes_after


def test_one_error_is_the_error_of_all():
    each = TensorChange(
        name="kernel",
        component="mlp",
        shape=(2,),
        before="float32",
        after="int8",
        parameters_before=2,
        parameters_after=2,
        bytes_before=8,
        bytes_after=3,
        relative_error=0.25,
    )
    assert Change(transform="", target="", tensors=(each, each)).relative_error == 0.25
