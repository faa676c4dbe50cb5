"""Memory plans beside those of other tools, model by model: who is off by how much.

    python benchmarks/plan_peers.py PYTHON

PYTHON is the interpreter of an environment with the peers:
`pip install hf-mem==0.5.6 hf-vram-calc==1.0.9 modelinfo-cli==1.4.4 accelerate==1.15.0`.
Their own functions are called with the published config and with the names, shapes and dtypes
of the published checkpoint. The reference is the closed form that is printed with each row.
"""

import json
import subprocess
import sys

import explorer as ex
from explorer.architectures.catalog.entries import find
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.resolve import resolve
from explorer.architectures.stored_tensors import iter_stored

CONTEXT = 32_768
# the elements that a layer keeps of a token, layer by layer: from the models' papers
REFERENCE = {
    "llama-2-7b": (32 * 2 * 4096 * CONTEXT, "32 layers x 2 x 4,096"),
    "llama-3.1-8b": (32 * 2 * 1024 * CONTEXT, "32 x 2 x 1,024"),
    "llama-3.1-405b": (126 * 2 * 1024 * CONTEXT, "126 x 2 x 1,024"),
    "qwen3-30b-a3b": (48 * 2 * 512 * CONTEXT, "48 x 2 x 4 heads of 128"),
    "gemma-2-9b": (21 * 2 * 2048 * (CONTEXT + 4096), "21 full, 21 of 4,096 tokens; 2 x 8 heads of 256"),
    "gemma-3-270m": (2 * 256 * (3 * CONTEXT + 15 * 512), "3 full, 15 of 512 tokens; 2 x 256"),
    "gpt-oss-20b": (2 * 512 * (12 * CONTEXT + 12 * 128), "12 full, 12 of 128 tokens; 2 x 512"),
    "mixtral-8x7b": (32 * 2 * 1024 * CONTEXT, "32 x 2 x 1,024"),
    "deepseek-v3": (61 * 576 * CONTEXT, "61 x (512 + 64)"),
    "mistral-7b": (32 * 2 * 1024 * 4096, "32 x 2 x 1,024, 4,096 tokens"),
}  # fmt: skip
_PEERS = """
import json, sys, types
config, tensors, context = json.load(sys.stdin)
found = {}
from modelinfo.calculator import calculate_footprint
whole = calculate_footprint(tensors, context, 1, config)
found["modelinfo"] = whole["kv_cache_bytes"], whole["base_memory_bytes"]
from hf_mem.safetensors.kv_cache import compute_safetensors_kv_cache_size
found["hf-mem"] = compute_safetensors_kv_cache_size(config, "BF16", context), None
from hf_vram_calc.calculator import VRAMCalculator
from hf_vram_calc.config import ConfigManager
from hf_vram_calc.models import ModelConfig
mine = ModelConfig(
    "model", config["vocab_size"], config["hidden_size"], config["num_hidden_layers"],
    config["num_attention_heads"], num_key_value_heads=config.get("num_key_value_heads"),
)
kv = VRAMCalculator(ConfigManager()).calculate_kv_cache_memory(mine, "bf16", 1, context)
found["hf-vram-calc"] = kv * 2**30, None
from accelerate.commands.estimate import estimate_training_usage
weights = sum(2 * __import__("math").prod(t["shape"]) for t in tensors.values())
found["accelerate"] = None, max(estimate_training_usage(2 * weights, "bfloat16").values())
print(json.dumps(found))
"""


def peers_of(python: str, name: str) -> dict[str, list]:
    """Return what the peers' functions give: bytes of the cache, and of weights or training."""
    entry, architecture = find(name), resolve(name).architecture
    stored = iter_stored(architecture, checkpoint_names_of(architecture))
    tensors = {key: {"shape": list(t.shape), "dtype": "BF16"} for key, t in stored}
    request = json.dumps([entry.config, tensors, CONTEXT])
    done = subprocess.run(
        [python, "-c", _PEERS], input=request, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def off(found: float | None, right: int) -> str:
    """Return how far a figure is from the right one."""
    if found is None:
        return "-"
    ratio = found / right
    return "right" if abs(ratio - 1) < 1e-4 else f"{ratio:.2f}x"


def main(python: str) -> None:
    """Print a row for each model."""
    tools = ("modelinfo", "hf-mem", "hf-vram-calc")
    print(f"cache of one sequence of {CONTEXT:,} tokens in bfloat16, found over right")
    print(
        f"{'model':16}{'right':>10}  {'explorer':>9}" + "".join(f"{t:>14}" for t in tools)
    )
    for name, (elements, how) in REFERENCE.items():
        plan = ex.plan(name, context=CONTEXT, dtype="bfloat16")
        ours = sum(term.bytes for term in plan.terms if term.name == "kv_cache")
        peers = peers_of(python, name)
        cells = "".join(f"{off(peers[tool][0], 2 * elements):>14}" for tool in tools)
        gib = f"{2 * elements / 2**30:.2f} GiB"
        print(f"{name:16}{gib:>10}  {off(ours, 2 * elements):>9}{cells}  {how}")
    print("\nAdamW in float32, without activations: 16 bytes a parameter, found over right")
    for name in REFERENCE:
        plan = ex.plan(name, train=True, dtype="float32", optimizer="adamw")
        kept = ("parameters", "gradients", "optimizer", "master_parameters")
        ours = sum(term.bytes for term in plan.terms if term.name in kept)
        right = 16 * plan.parameters
        theirs = peers_of(python, name)["accelerate"][1]
        print(
            f"{name:16}{right / 1e9:>8.1f} GB  {off(ours, right):>9}  accelerate {off(theirs, right)}"
        )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:  # the peers bring PyTorch: not in the environment of the other benchmarks
        print("plan_peers.py: give it the interpreter of an environment with the peers")
