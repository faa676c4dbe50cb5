"""The names that a PyTorch file may use, and the stand-in for each.

The list follows torch._weights_only_unpickler (PyTorch 2.13): the functions that rebuild
tensors, the storage classes, the number formats, and plain containers.
"""

from collections.abc import Callable

from explorer import dtypes
from explorer.formats.pytorch import records as records
from explorer.formats.pytorch.jax_names import find_jax
from explorer.formats.pytorch.machine import Global, Instance
from explorer.formats.pytorch.pickles import refuse_name
from explorer.formats.pytorch.plain_names import PLAIN_NAMES

__all__ = ["finder"]


def finder(path: str, *, script: bool = False) -> Callable[[str, str], Global]:
    """Return the function from a name to its stand-in.

    Args:
        path: what errors call the file.
        script: whether it is a TorchScript archive, whose `__torch__` classes are its own.
    """

    def find(module: str, name: str) -> Global:
        full = f"{module}.{name}"
        if full in _NAMES:
            return Global(full, _NAMES[full])
        if script and full.startswith("__torch__."):
            return Global(full, lambda *_: Instance(full))
        if full in records.STORAGES:
            return Global(full)
        if module == "torch" and dtypes.find_torch(name):
            return Global(full)
        if (known := find_jax(module, name)) is not None:
            return known
        raise refuse_name(path, module, name)

    return find


def _same(value: object = (), *_: object) -> object:
    return value


def _nothing(*_: object) -> None:
    return


_NAMES: dict[str, Callable[..., object] | None] = {
    **PLAIN_NAMES,
    "torch._utils._rebuild_tensor": records.make_tensor_v2,
    "torch._utils._rebuild_tensor_v2": records.make_tensor_v2,
    "torch._utils._rebuild_tensor_v3": records.make_tensor_v3,
    "torch._utils._rebuild_qtensor": records.make_quantised,
    "torch._utils._rebuild_sparse_tensor": records.make_sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": records.make_meta,
    "torch._utils._rebuild_parameter": _same,
    "torch._utils._rebuild_parameter_with_state": _same,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _same,
    "torch._utils._rebuild_device_tensor_from_numpy": _same,
    "torch._utils._rebuild_xla_tensor": _same,
    "torch._tensor._rebuild_from_type_v2": records.make_of_type,
    "torch.serialization._get_layout": _same,
    "torch.Size": _same,
    "torch.device": _nothing,
    "torch.Tensor": None,
    "torch.nn.parameter.Parameter": None,
    "torch.nn.parameter.Buffer": None,
    records.FP4_PAIR: None,
    **{
        f"torch.{scheme}": None
        for scheme in (
            "per_tensor_affine",
            "per_tensor_symmetric",
            "per_channel_affine",
            "per_channel_symmetric",
            "per_channel_affine_float_qparams",
        )
    },
    **{
        f"torch.jit._pickle.{name}": _same
        for name in (
            "build_intlist",
            "build_tensorlist",
            "build_doublelist",
            "build_boollist",
            "build_tensor_from_id",
            "restore_type_tag",
        )
    },
}
