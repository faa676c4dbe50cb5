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


def test_the_map_of_outliers_has_the_largest_magnitude_over_the_rms():
    tree = layers(3)
    tree["layers_2"]["mlp"]["kernel"][5, 7] = -300.0
    figure = plot_stats(ex.describe(tree))
    figure.canvas.draw()
    panel = figure.axes[2]
    (image,) = panel.get_images()
    cells = np.asarray(image.get_array())
    assert [label.get_text() for label in panel.get_yticklabels()] == ["mlp/kernel"]
    for layer in range(3):
        kernel = tree[f"layers_{layer}"]["mlp"]["kernel"].astype(np.float64)
        expected = np.abs(kernel).max() / np.sqrt(np.mean(kernel**2))
        np.testing.assert_allclose(cells[0, layer], expected, rtol=1e-6)


def test_a_model_without_layers_has_no_map():
    figure = plot_stats(ex.describe({"kernel": np.ones((4, 4), np.float32)}))
    assert len(figure.axes) == 2
