"""Networks over streams, and the figures of a search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.errors import DataError
from etude.systems.gravitational_waves.pipeline import (
    Estimate,
    Sliding,
    efficiency,
    plot_detection,
    plot_distance,
    plot_efficiency,
    plot_roc,
    roc,
)

RATE = 256


def coherent(windows):
    """Large where both detectors are loud at the same sample."""
    return jnp.abs(windows).prod(axis=2).max(axis=1)


def stream(seconds=40, seed=0):
    return np.random.default_rng(seed).normal(size=(seconds * RATE, 2))


@pytest.mark.parametrize("batch", [7, 64, 1000])
def test_values_are_those_of_every_window_whatever_the_batch(batch):
    data = stream(9)
    sliding = Sliding(coherent, RATE, 1.0, 1 / 16, 0.5, batch)
    starts = range(0, 8 * RATE + 1, RATE // 16)
    expected = [coherent(data[None, a : a + RATE].astype(np.float32))[0] for a in starts]
    np.testing.assert_allclose(sliding.values(data), np.array(expected), rtol=1e-6)
    assert sliding.triggers(data, 50.0).time[-1] == 50 + 8 + 0.5


def test_the_network_is_compiled_once():
    shapes = []

    @jax.jit
    def counted(windows):
        shapes.append(windows.shape)
        return coherent(windows)

    sliding = Sliding(counted, RATE, 1.0, 0.25, 0.5, batch=50)
    sliding.background(stream(), step=1.0, count=3)
    assert shapes == [(50, RATE, 2)]


def test_a_coherent_click_is_loudest_and_above_every_slide():
    data = stream()
    data[round(22.3 * RATE)] += 15.0
    sliding = Sliding(jax.jit(coherent), RATE, 1.0, 1 / 16, 0.5)
    triggers = sliding.triggers(data, 1000.0).clustered(0.5)
    time, statistic = triggers.loudest
    assert abs(time - 1022.3) <= 0.5
    background = sliding.background(data, step=1.0, count=None)
    assert background.louder(np.array([statistic]))[0] == 0
    windows = 1 + 39 * 16
    assert background.duration == pytest.approx(39 * windows / 16)


def test_slides_of_noise_are_as_loud_as_noise():
    """False-alarm rates agree with independent noise: the slides are a fair background."""
    sliding = Sliding(jax.jit(coherent), RATE, 1.0, 0.25, 0.5)
    background = sliding.background(stream(60, 1), step=1.0, count=20)
    threshold = background.threshold(0.05)
    others = [sliding.triggers(stream(60, 2 + k), 0.0).clustered(0.5) for k in range(10)]
    rate = sum(np.count_nonzero(t.statistic > threshold) for t in others) / (10 * 59.25)
    assert rate == pytest.approx(0.05, abs=0.03)


def test_what_cannot_be_slid_is_refused():
    with pytest.raises(DataError, match="whole number"):
        Sliding(coherent, RATE, 1.0, 0.001, 0.5)
    sliding = Sliding(coherent, RATE, 1.0, 0.5, 0.5)
    with pytest.raises(DataError, match="less than a window"):
        sliding.values(np.zeros((100, 2)))
    with pytest.raises(DataError, match="one number for each"):
        Sliding(lambda w: w, RATE, 1.0, 0.5, 0.5).values(stream(3))
    with pytest.raises(DataError, match="NaN"):
        Sliding(lambda w: w.mean((1, 2)), RATE, 1.0, 0.5, 0.5).values(np.full((RATE, 2), np.nan))
    with pytest.raises(DataError, match="longer steps"):
        sliding.background(stream(3), step=0.25)


def test_figures_draw_the_numbers(tmp_path):
    rng = np.random.default_rng(0)
    curve = roc(rng.normal(size=50), rng.normal(2, 1, 40))
    line = plot_roc({"a": curve}).axes[0].lines[0]
    assert line.get_xdata().min() >= 1 / 50
    assert set(line.get_ydata()) <= set(curve.true_positive_rate)

    snr = rng.uniform(4, 12, 300)
    found = efficiency(snr > 8, snr, np.arange(4.0, 14.0, 2.0))
    container = plot_efficiency({"a": found}, "one per hour").axes[0].containers[0]
    np.testing.assert_allclose(container[0].get_ydata(), [0, 0, 1, 1])

    estimates = [Estimate(3.0, 2.0, 4.0), Estimate(5.0, 4.0, 6.0)]
    line = plot_distance({"a": (np.array([1.0, 10.0]), estimates)}).axes[0].lines[0]
    assert line.get_ydata().tolist() == [3, 5]

    raster = np.zeros((10, 4))
    raster[5, 2] = 1
    times = np.linspace(1000.25, 1003.25, 20)
    strain = np.zeros((4 * RATE, 2))
    figure = plot_detection(
        strain, RATE, 1000.0, (times, times), raster, (1001.0, 1002.0), threshold=7.0
    )
    spike = figure.axes[2].collections[0].get_offsets()
    np.testing.assert_allclose(spike, [[1.55, 2]])
    figure.savefig(tmp_path / "detection.png")
    assert (tmp_path / "detection.png").stat().st_size > 5000
