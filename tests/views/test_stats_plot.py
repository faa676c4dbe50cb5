"""The figure of values: ticks stand where they say, layers without finite numbers are left out."""

import numpy as np

import explorer as ex
from explorer.views.stats_plot import plot_stats


def layers(number: int) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {
        f"layers_{i}": {"mlp": {"kernel": rng.standard_normal((64, 64)).astype(np.float32)}}
        for i in range(number)
    }


def test_ticks_of_powers_stand_at_whole_powers():
    figure = plot_stats(ex.describe(layers(3)))
    figure.canvas.draw()
    ticks = figure.axes[0].get_xticks()
    assert all(float(tick).is_integer() for tick in ticks)
    assert all(float(tick).is_integer() for tick in figure.axes[1].get_xticks())


def test_a_layer_of_nan_has_no_norm():
    tree = layers(3)
    tree["layers_1"]["mlp"]["kernel"][:] = np.nan
    (line,) = plot_stats(ex.describe(tree)).axes[1].get_lines()
    assert list(line.get_xdata()) == [0, 2]
