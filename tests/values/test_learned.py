"""Where parameters changed, against NumPy's norms of the same parts."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import explorer as ex
from explorer.document.text import text_of
from explorer.errors import FormatError, InputError, TreeError
from explorer.models.small import MultilayerPerceptron
from explorer.training import Arrays, Batches, Trainer, fit
from explorer.values.learned import read_learned
from explorer.views.learned import learned_document


def parameters(seed: int) -> dict:
    rng = np.random.default_rng(seed)

    def of(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def layer():
        return {
            "attention": {"query": {"kernel": of(24, 16)}},
            "mlp": {"up_proj": {"kernel": of(16, 40), "bias": of(40)}},
        }

    return {
        "embed": {"embedding": of(10, 16)},
        **{f"layers_{n}": layer() for n in range(11)},
    }


def flat(tree: dict) -> dict[str, np.ndarray]:
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        "/".join(str(key.key) for key in keys): np.asarray(leaf, np.float64)
        for keys, leaf in found
    }


def test_each_part_is_as_numpy_has_it():
    before, after = parameters(0), parameters(1)
    found = ex.learned(before, after)
    old, new = flat(before), flat(after)
    names = [part.name for part in found.parts]
    assert names == ["embed", *(f"layers_{n}" for n in range(11) for _ in range(2))]
    for part in (*found.parts, found.total):
        inside = [
            name
            for name in old
            if name.startswith(f"{part.name}/" if part.name else "")
            and part.component in ("", "embedding", *name.split("/"))
        ]
        a = np.concatenate([old[name].ravel() for name in inside])
        b = np.concatenate([new[name].ravel() for name in inside])
        assert (part.tensors, part.parameters) == (len(inside), a.size)
        assert part.change == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a))
        assert part.rms_before == pytest.approx(np.sqrt(np.mean(a * a)))
        assert part.rms_after == pytest.approx(np.sqrt(np.mean(b * b)))
        ranks = [
            np.linalg.norm(d := new[name] - old[name]) ** 2 / np.linalg.svd(d)[1][0] ** 2
            for name in inside
            if old[name].ndim == 2
        ]
        assert part.rank == pytest.approx(np.mean(ranks))
    assert sum(part.share for part in found.parts) == pytest.approx(1)


def test_an_update_of_rank_one_has_one_direction():
    before = parameters(0)
    after = jax.tree.map(np.array, before)
    rng = np.random.default_rng(2)
    kernel = after["layers_3"]["attention"]["query"]["kernel"]
    kernel += np.outer(rng.standard_normal(24), rng.standard_normal(16)).astype(np.float32)
    found = ex.learned(before, after)
    (part,) = [part for part in found.parts if part.share]
    assert (part.name, part.component, part.full_rank) == ("layers_3", "attention", 16)
    assert part.share == 1
    assert part.rank == pytest.approx(1, rel=1e-5)
    text = text_of(learned_document(found), 100)
    assert "most in layers_3 (attention): 100% of the change" in text
    assert text_of(learned_document(ex.learned(before, before)), 100).startswith(
        "no parameter changed"
    )


def test_from_nothing_but_zeros():
    found = ex.learned({"bias": np.zeros(3)}, {"bias": np.ones(3)})
    assert found.total.change is None
    assert "moved from zero" in text_of(learned_document(found), 100)


def test_it_is_saved_and_read_again(tmp_path: Path):
    found = ex.learned(parameters(0), parameters(1))
    path = tmp_path / "learned.json"
    found.save(path)
    assert read_learned(path) == found
    again = ex.learned(parameters(0), parameters(2))
    again.save(path)
    assert read_learned(path) == again
    path.write_text("{}")
    with pytest.raises(FormatError, match="is not a record of what was learned"):
        again.save(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_learned(tmp_path / "none.json")


def test_other_tensors_are_refused():
    less = parameters(1)
    del less["layers_3"]["mlp"]["up_proj"]["bias"]
    with pytest.raises(TreeError, match="has no layers_3/mlp/up_proj/bias"):
        ex.learned(parameters(0), less)
    with pytest.raises(TreeError, match="has no w of one shape"):
        ex.learned({"w": np.zeros(3)}, {"w": np.zeros(4)})


def test_of_a_run_of_ones_own():
    model = MultilayerPerceptron((8, 10))

    def loss_fn(params, batch, context):
        logits: Any = model.apply({"params": params}, batch["x"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    trainer = Trainer(model, loss_fn, optax.sgd(0.1), freeze="layers_0/**")
    state = trainer.init(jax.random.key(0), jnp.ones((1, 4)))
    before = jax.device_get(
        state.params
    )  # a step that donates uses the memory of the state
    data = {"x": np.ones((16, 4), np.float32), "y": np.arange(16) % 10}
    result = fit(trainer, state, Batches(Arrays(data), 8), steps=3)
    found = ex.learned(before, result.state.params)
    shares = {part.name: part.share for part in found.parts}
    assert shares == {"layers_0": 0, "layers_1": 1}
