"""Writes the small files beside it with PyTorch 2.13 (CPU), which the tests do not need.

    python tests/data/torch_containers/make.py

`dcp_metadata` is the `.metadata` of a torch.distributed.checkpoint folder, `dynamic.pt` the state
dict of a model that torch.ao quantized, `optimizer.pt` that of an optimizer, `sparse.pt` tensors in
PyTorch's sparse layouts, each a 4 x 4 identity.
"""

import tempfile
import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp

HERE = Path(__file__).parent


def main() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), HERE / "optimizer.pt")
    momentum = optimizer.state[model.weight]["exp_avg"]
    state = {"model": model.state_dict(), "optim": {"state": {"m": momentum}}, "step": 5}
    with tempfile.TemporaryDirectory() as folder:
        dcp.save(state, checkpoint_id=folder, no_dist=True)
        (HERE / "dcp_metadata").write_bytes(Path(folder, ".metadata").read_bytes())
    quantized = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(model), {torch.nn.Linear}, dtype=torch.qint8
    )
    torch.save(quantized.state_dict(), HERE / "dynamic.pt")
    eye = torch.eye(4)
    torch.save(
        {
            "coo": eye.to_sparse(),
            "csr": eye.to_sparse_csr(),
            "csc": eye.to_sparse_csc(),
            "bsr": eye.to_sparse_bsr((2, 2)),
            "bsc": eye.to_sparse_bsc((2, 2)),
            "hybrid": torch.eye(4).reshape(4, 2, 2).to_sparse(1),
            "dense": torch.zeros(2, 2),
        },
        HERE / "sparse.pt",
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
