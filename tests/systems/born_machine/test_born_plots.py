"""Figures: the numbers that are drawn."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from etude.systems.born_machine.config_model import DatasetConfig
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.plots import (
    density_grid,
    plot_densities,
    plot_entanglement,
    plot_likelihoods,
    plot_samples,
)

sys.path.insert(0, str(Path(__file__).parent))
from born_toy import machine, sampler

PLANE = DataHandler(DatasetConfig(name="gaussians", size=40), (-2.0, 2.0))
DIGITS = DataHandler(DatasetConfig(name="digits"), (0.0, 1.0))


def test_the_grid_holds_a_density():
    toy = machine(std=0.15)
    axis, log_p = density_grid(toy, (-2.0, 2.0), 100)
    cell = (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(np.exp(log_p).sum(axis=0) * cell, 1, rtol=1e-3)
    highest = np.unravel_index(log_p[:, 1].argmax(), (100, 100))
    np.testing.assert_allclose(axis[list(highest)], [0.5, 0.2], atol=0.03)


def test_heat_maps_have_the_first_site_along_the_abscissa():
    toy = machine(std=0.15)
    drawn = [sampler(toy, jax.random.key(0), c, 300) for c in range(2)]
    figure = plot_densities(toy, PLANE, drawn, points=80)
    second = figure.axes[1].images[0]
    image = np.asarray(second.get_array())
    row, column = np.unravel_index(image.argmax(), image.shape)
    low, high, *_ = second.get_extent()
    across, up = (low + (high - low) * (k + 0.5) / 80 for k in (column, row))
    np.testing.assert_allclose([across, up], [0.5, 0.2], atol=0.05)
    assert len(figure.axes) == 3
    # p(x) = sum_c p(c) p(x|c)
    panels = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    np.testing.assert_allclose(panels[2], 0.3 * panels[0] + 0.7 * panels[1], rtol=1e-5)
    np.testing.assert_allclose(figure.axes[2].collections[0].get_offsets(), np.concatenate(drawn))
    with pytest.raises(ValueError, match="64 sites"):
        plot_densities(toy, DIGITS)


def test_samples_beside_data_in_raw_coordinates():
    drawn = [PLANE.of_class("train", c) for c in range(2)]
    figure = plot_samples(drawn, PLANE)
    data, samples = (axes.collections for axes in figure.axes)
    np.testing.assert_allclose(
        data[1].get_offsets(), PLANE.scaling.inverse(PLANE.of_class("test", 1))
    )
    np.testing.assert_allclose(samples[0].get_offsets(), drawn[0] / 2, atol=1e-6)


def test_pictures_are_laid_in_rows_of_classes():
    drawn = [DIGITS.of_class("train", c)[:3] for c in range(10)]
    figure = plot_samples(drawn, DIGITS)
    image = np.asarray(figure.axes[1].images[0].get_array())
    assert image.shape == (80, 80)
    np.testing.assert_allclose(image[16:24, 8:16], drawn[2][1].reshape(8, 8), atol=1e-6)
    assert not image[:, 24:].any()


def test_curves():
    entropies = np.linspace(0, 1, 7)
    lines = plot_entanglement(entropies, bond_dim=4).axes[0].lines
    np.testing.assert_array_equal(lines[0].get_ydata(), entropies)
    np.testing.assert_allclose(lines[1].get_ydata(), np.log(4))
    figure = plot_likelihoods({"sweep": {30: 67.0, 10: 95.0}, "Adam": {10: 118.0}}, floor=6.9)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), [10, 30])
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [95.0, 67.0])
    np.testing.assert_allclose(figure.axes[0].lines[2].get_ydata(), 6.9)
