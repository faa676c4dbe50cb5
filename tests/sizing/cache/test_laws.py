"""What holds of caches whatever the model: order, sums, closed forms, what XLA takes."""

from functools import cache

import jax
import jax.numpy as jnp
import pytest
from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.architectures.attention_specs import AttentionSpec, LatentAttentionSpec
from explorer.architectures.catalog.entries import entries
from explorer.architectures.resolve import resolve
from explorer.models.transformer import Transformer
from explorer.sizing.cache.amounts import amounts_of, cache_bytes, plain
from explorer.sizing.cache.concurrency import concurrency
from explorer.sizing.cache.terms import cache_terms
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import TERMS, Workload

ENGINES = ("jax", "llama.cpp", "vllm", "sglang")
NAMES = [entry.names[0] for entry in entries()]


@cache
def model_of(name: str) -> Architecture:
    return resolve(name).architecture


def of(name: str, engine: str, **settings: object) -> int:
    return cache_bytes(model_of(name), Workload(engine=engine, **settings))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_more_context_or_more_sequences_never_take_less(name: str, engine: str):
    sizes = [of(name, engine, context=n) for n in (1, 100, 511, 512, 4096, 4097, 100_000)]
    assert sizes == sorted(sizes)
    batches = [of(name, engine, context=1000, batch=n) for n in (1, 2, 7, 64)]
    assert batches == sorted(batches)
    causal = bool(plain(model_of(name), Workload()).cached)
    assert (batches[0] < batches[-1]) == causal


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_windows_and_latents_never_take_more_than_all_keys(name: str, engine: str):
    settings = {"context": 20_000, "batch": 3}
    # vllm's groups pad layers, which a short context does not make good
    short = () if engine == "vllm" else (1, 17, 600, 2500)
    for context in (*short, 20_000):
        windowed = of(name, engine, context=context, batch=3, swa_full=False)
        assert windowed <= of(name, engine, context=context, batch=3, swa_full=True)
    latent = of(name, engine, **settings)
    expanded = of(name, engine, **settings, expand_latent=True)
    has_latents = any(
        isinstance(block.attention, LatentAttentionSpec)
        for block in model_of(name).blocks()
    )
    assert latent < expanded if has_latents else latent == expanded


@pytest.mark.parametrize("name", NAMES)
def test_layers_add_up(name: str):
    """A sum over blocks, one at a time, is the closed form of kinds x numbers."""
    tokens, total = 3000, 0
    for block in model_of(name).blocks():
        match block.attention:
            case AttentionSpec(causal=True, window=window) as each:
                total += 2 * each.key.outputs * min(tokens, window or tokens)
            case LatentAttentionSpec() as each:
                total += each.latent_down.outputs * tokens
    assert of(name, "jax", context=tokens, dtype="float16") == 2 * total
    assert of(name, "jax", context=tokens, dtype="float16", batch=5) == 10 * total


@pytest.mark.parametrize("name", ["gemma-3-270m", "gpt2", "deepseek-v2-lite", "qwen3-0.6b"])
def test_xla_takes_as_many_bytes_for_the_cache(name: str):
    """The arguments of a compiled program whose inputs are the arrays of a cache."""
    arrays = []
    for block in model_of(name).blocks():
        each = block.attention
        if isinstance(each, LatentAttentionSpec):
            rotary = each.rope.size
            shapes = [
                (2, 100, each.latent_down.outputs - rotary),
                (2, 100, rotary),
            ]
        else:
            length = min(100, each.window or 100)
            shapes = [(2, length, each.kv_heads, each.head_size)] * 2
        arrays += [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    compiled = (
        jax.jit(lambda each: jax.tree.map(jnp.negative, each)).lower(arrays).compile()
    )
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.argument_size_in_bytes == of(
        name, "jax", context=100, batch=2, kv_dtype="bfloat16"
    )


@pytest.mark.parametrize(
    ("name", "batch", "tokens"),
    [("all-minilm-l6-v2", 32, 256), ("bert-base-uncased", 4, 512)],
)
def test_xla_computes_an_encoder_within_the_bounds(name: str, batch: int, tokens: int):
    model = Transformer(model_of(name))
    ids = jax.ShapeDtypeStruct((batch, tokens), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), ids)
    memory = jax.jit(model.apply).lower(params, ids).compile().memory_analysis()
    assert memory is not None
    workload = Workload(batch=batch, context=tokens, dtype="float32")
    terms = {t.name: t for t in cache_terms(model_of(name), workload, Placement())}
    assert terms["kv_cache"].bytes == 0
    assert terms["workspace"].low <= memory.temp_size_in_bytes <= terms["workspace"].high


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["llama-3.1-70b", "deepseek-v3", "gpt-oss-20b", "gpt2"])
def test_devices_hold_a_share(name: str, engine: str):
    workload = Workload(engine=engine, context=4096, batch=8)
    whole = cache_bytes(model_of(name), workload)
    for mesh in ({"tensor": 2}, {"tensor": 4}, {"data": 4}, {"data": 2, "tensor": 2}):
        placement = Placement(mesh=mesh)
        share = cache_bytes(model_of(name), workload, placement)
        latent = name == "deepseek-v3"
        devices = mesh.get("data", 1) * (1 if latent else mesh.get("tensor", 1))
        # sglang's pool for windows has a share of the slots, rounded down
        rounded = (engine, name) == ("sglang", "gpt-oss-20b")
        assert share * devices == (pytest.approx(whole, 1e-4) if rounded else whole)
        for term in cache_terms(model_of(name), workload, placement):
            assert term.name in TERMS
            assert term.low <= term.bytes <= term.high
            assert term.on_device <= term.bytes
    # eight key-value heads on sixteen devices: each holds one
    many = cache_bytes(model_of(name), workload, Placement(mesh={"tensor": 16}))
    if name == "llama-3.1-70b":
        assert many * 8 == whole


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "gemma-3-1b", "deepseek-v3", "gpt-oss-20b"]
)
def test_what_fits_fits_and_one_more_does_not(name: str, engine: str):
    workload = Workload(engine=engine, context=3000)
    found = concurrency(model_of(name), workload, 10_000_000_000)
    assert found.whole > 0
    fits = replace(workload, batch=found.whole)
    assert cache_bytes(model_of(name), fits) <= 10_000_000_000
    more = replace(workload, batch=found.whole + 1)
    assert cache_bytes(model_of(name), more) > 10_000_000_000
    assert concurrency(model_of(name), workload, 0).whole == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_an_exact_term_has_no_range(engine: str):
    for name in NAMES:
        terms = cache_terms(
            model_of(name), Workload(engine=engine, context=77), Placement()
        )
        for term in terms:
            assert not term.is_exact or term.low == term.bytes == term.high
            assert type(term.bytes) is type(term.low) is type(term.high) is int


def test_vllm_pads_layers_to_groups():
    """Gemma-3-1b: 22 layers with a window, 4 without: six groups of four."""
    workload = Workload(engine="vllm", context=8192, swa_full=False)
    kept = plain(model_of("gemma-3-1b"), workload)
    layers = {each.kind.window: each.layers for each in amounts_of(kept, workload)}
    assert layers == {512: 24, None: 4}
