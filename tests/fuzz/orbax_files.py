"""Orbax folders of one array, with chunks that tensorstore wrote and documents that are changed."""

import json
from pathlib import Path
from typing import Any

__all__ = ["BLOSC", "ZEROS", "ZSTD", "sharded", "zarr2", "zarr3"]

ZEROS = 1 << 28
BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 0, "blocksize": 0}
ZSTD = {"id": "zstd", "level": 1}
_BYTES = {"name": "bytes"}


def tree(folder: Path, *, ocdbt: bool = False, zarr3: bool = False) -> None:
    """Write the metadata of a tree of one array, `w`."""
    leaf = {
        "key_metadata": [{"key": "w", "key_type": 2}],
        "value_metadata": {"value_type": "jax.Array", "skip_deserialize": False},
    }
    document = {"tree_metadata": {"('w',)": leaf}, "use_ocdbt": ocdbt, "use_zarr3": zarr3}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_METADATA").write_text(json.dumps(document))


def zarr2(folder: Path, compressor: Any, size: int = ZEROS, **claimed: Any) -> Path:
    """Write zeros in one chunk, and a document that claims something else."""
    metadata = {"shape": [size], "chunks": [size], "dtype": "|u1", "fill_value": 1}
    metadata["compressor"] = compressor
    _write(folder, "zarr", metadata)
    tree(folder)
    _change(folder / "w/.zarray", claimed)
    return folder


def zarr3(folder: Path, codecs: list[Any], size: int = ZEROS, **claimed: Any) -> Path:
    """As `zarr2`, with a list of codecs after that of the bytes."""
    grid = {"name": "regular", "configuration": {"chunk_shape": [size]}}
    metadata = {"shape": [size], "data_type": "uint8", "chunk_grid": grid, "fill_value": 1}
    if not (codecs and codecs[0]["name"] == "sharding_indexed"):
        codecs = [_BYTES, *codecs]
    metadata["codecs"] = codecs
    _write(folder, "zarr3", metadata)
    tree(folder, zarr3=True)
    _change(folder / "w/zarr.json", claimed)
    return folder


def sharded(inner: int, *codecs: Any) -> dict[str, Any]:
    """Return the codec of chunks of so many elements inside each chunk."""
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    configuration = {"chunk_shape": [inner], "codecs": [_BYTES, *codecs]}
    configuration["index_codecs"] = index
    return {"name": "sharding_indexed", "configuration": configuration}


def database(folder: Path) -> Path:
    """Write ones into an OCDBT database that is not compressed and has its values in its nodes."""
    import numpy as np
    import tensorstore

    base = {"driver": "file", "path": f"{folder}/"}
    config = {"compression": None, "max_inline_value_bytes": 4096}
    kvstore = {"driver": "ocdbt", "base": base, "config": config, "path": "w/"}
    metadata = {"shape": [4, 4], "chunks": [2, 4], "dtype": "<f4", "compressor": None}
    spec = {"driver": "zarr", "kvstore": kvstore, "metadata": metadata}
    array = tensorstore.open(spec, create=True).result()
    with tensorstore.Transaction() as transaction:
        ones = np.ones((4, 4), np.float32)
        array.with_transaction(transaction).write(ones).result()
    tree(folder, ocdbt=True)
    return folder


def _write(folder: Path, driver: str, metadata: dict[str, Any]) -> None:
    import numpy as np
    import tensorstore

    kvstore = {"driver": "file", "path": f"{folder / 'w'}/"}
    spec = {"driver": driver, "kvstore": kvstore, "metadata": metadata}
    array = tensorstore.open(spec, create=True).result()
    array.write(np.zeros((), np.uint8)).result()


def _change(path: Path, claimed: dict[str, Any]) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | claimed))
