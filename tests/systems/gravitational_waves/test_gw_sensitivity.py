"""Efficiency, sensitive volume and ROC against closed forms, other libraries and simulation."""

import numpy as np
import pytest
from scipy.stats import beta, binom, norm
from sklearn.metrics import roc_auc_score, roc_curve

from etude.systems.gravitational_waves.pipeline import (
    auc,
    binomial_interval,
    block_auc,
    chirp_volumes,
    delong,
    efficiency,
    roc,
    sensitive_distance,
    sensitive_volume,
    tpr_at_fpr,
    uniform_volumes,
)


@pytest.mark.parametrize("trials", [20, 100_000])
def test_intervals_against_their_formulas(trials):
    """Quantiles of the beta distribution, and Wilson's closed form."""
    k, tail = np.array([0, 1, 7, trials - 1, trials]), 0.05
    inner = k[1:-1]
    low, high = binomial_interval(k, np.full(5, trials), 1 - 2 * tail)
    assert (low[0], high[-1]) == (0, 1)
    np.testing.assert_allclose(low[1:], beta.ppf(tail, k[1:], trials - k[1:] + 1), atol=1e-12)
    np.testing.assert_allclose(high[:-1], beta.isf(tail, k[:-1] + 1, trials - k[:-1]), atol=1e-12)

    low, high = binomial_interval(inner, np.full(3, trials), 1 - 2 * tail, "wilson")
    z = norm.isf(tail)
    middle = (inner + z**2 / 2) / (trials + z**2)
    half = z / (trials + z**2) * np.sqrt(inner * (trials - inner) / trials + z**2 / 4)
    np.testing.assert_allclose([low, high], [middle - half, middle + half], atol=1e-12)


def test_intervals_of_nothing_and_of_nonsense():
    low, high = binomial_interval(np.array([0]), np.array([0]))
    assert (low[0], high[0]) == (0, 1)
    with pytest.raises(ValueError, match="between 0 and"):
        binomial_interval(np.array([3]), np.array([2]))


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_coverage_of_the_intervals(p):
    """Exact coverage, summed over all outcomes of 40 trials."""
    k = np.arange(41)
    chance = binom.pmf(k, 40, p)
    covered = {}
    for method in ("clopper-pearson", "wilson"):
        low, high = binomial_interval(k, np.full(41, 40), 0.95, method)
        covered[method] = chance[(low <= p) & (p <= high)].sum()
    assert covered["clopper-pearson"] >= 0.95
    assert covered["wilson"] == pytest.approx(0.95, abs=0.035)


def test_efficiency_covers_a_known_selection_by_simulation():
    rng = np.random.default_rng(1)
    edges = np.array([4.0, 6.0, 8.0, 10.0])
    truth = np.array([norm.cdf(x - 7) for x in np.linspace(4, 10, 6001)])
    expected = truth[:-1].reshape(3, -1).mean(axis=1)
    inside = np.zeros(3)
    for _ in range(300):
        snr = rng.uniform(4, 10, 120)
        curve = efficiency(rng.random(120) < norm.cdf(snr - 7), snr, edges)
        inside += (curve.low <= expected) & (expected <= curve.high)
    assert np.all(inside / 300 > 0.93)
    assert curve.total.sum() == 120


def test_empty_bins_have_no_fraction_and_the_whole_interval():
    curve = efficiency(np.array([True]), np.array([9.0]), np.array([4.0, 8.0, 12.0]))
    assert np.isnan(curve.fraction[0])
    assert (curve.low[0], curve.high[0], curve.fraction[1]) == (0, 1, 1)


def test_volume_is_the_formula_of_the_challenge():
    """MLGWSC-1: Vmax / (N Mc_max^{5/2}) sum_found Mc^{5/2}, and its sample-variance error."""
    rng = np.random.default_rng(2)
    chirp, found = rng.uniform(4.4, 43.5, 500), rng.random(500) < 0.4
    largest, top = 5000.0, chirp.max()
    prefactor = 4 / 3 * np.pi * largest**3 / (top**2.5 * 500)
    total = np.sum(chirp[found] ** 2.5)
    variance = np.sum(chirp[found] ** 5) / 500 - (total / 500) ** 2
    volume, error = sensitive_volume(found, chirp_volumes(chirp, largest))
    assert volume == pytest.approx(prefactor * total, rel=1e-12)
    assert error == pytest.approx(prefactor * np.sqrt(500 * variance), rel=1e-12)


def test_volume_of_a_known_selection_uniform_in_volume():
    """All within R are found: the sensitive distance is R, and its interval covers R."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        distance = 1000 * np.cbrt(rng.random(400))
        estimate = sensitive_distance(distance < 600, uniform_volumes(400, 1000.0))
        hits += estimate.low <= 600 <= estimate.high
    assert hits / 400 == pytest.approx(0.683, abs=0.06)


def test_volume_of_a_known_selection_uniform_in_chirp_distance():
    """Found where M_c^{5/6} / d > limit: the true volume, averaged over masses, is recovered."""
    rng = np.random.default_rng(4)
    chirp = rng.uniform(5, 40, 200_000)
    reach = chirp ** (5 / 6)
    distance = 10 * reach * np.cbrt(rng.random(len(chirp)))
    found = reach / distance > 1 / 6  # out to 6 reach
    volume, error = sensitive_volume(found, chirp_volumes(chirp, 10 * reach.max()))
    truth = 4 / 3 * np.pi * 6**3 * np.mean(reach**3)
    assert abs(volume - truth) < 4 * error
    assert error / volume < 0.01


def test_distance_of_nothing_found_is_zero_and_none_injected_is_refused():
    assert sensitive_distance(np.zeros(3, bool), uniform_volumes(3, 1.0)) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="no injections"):
        sensitive_volume(np.zeros(0, bool), np.zeros(0))


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(5)
    # Rounded, so that there are ties.
    return rng.normal(size=300).round(1), rng.normal(1.2, 1.5, 200).round(1)


def test_roc_and_auc_against_scikit_learn(scores):
    noise, signals = scores
    labels, values = np.repeat([0, 1], [300, 200]), np.concatenate(scores)
    curve = roc(noise, signals)
    theirs = roc_curve(labels, values, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, theirs[0])
    np.testing.assert_allclose(curve.true_positive_rate, theirs[1])
    assert auc(noise, signals).value == pytest.approx(roc_auc_score(labels, values))


def test_delong_against_the_bootstrap(scores):
    noise, signals = scores
    rng = np.random.default_rng(6)
    areas = [delong(rng.choice(noise, 300), rng.choice(signals, 200))[0] for _ in range(2000)]
    assert np.sqrt(delong(noise, signals)[1]) == pytest.approx(np.std(areas), rel=0.06)
    low, high = np.quantile(areas, [0.025, 0.975])
    estimate = auc(noise, signals)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.006)


def test_perfect_separation_is_not_certainty():
    estimate = auc(np.arange(30.0), np.arange(100.0, 160.0))
    assert estimate == pytest.approx((1.0, 0.9, 1.0))
    # Sixty windows of twelve binaries say as much as twelve.
    blocks = np.arange(30), 100 + np.arange(60) // 5
    estimate = block_auc(np.arange(30.0), np.arange(100.0, 160.0), *blocks)
    assert estimate == pytest.approx((1.0, 0.75, 1.0))


def test_blocks_of_one_window_are_as_good_as_none(scores):
    noise, signals = scores
    found = block_auc(noise, signals, np.arange(300), 300 + np.arange(200), draws=2000)
    labels, values = np.repeat([0, 1], [300, 200]), np.concatenate(scores)
    assert found.value == pytest.approx(roc_auc_score(labels, values), rel=1e-12)
    assert found == pytest.approx(auc(noise, signals), abs=0.006)


def test_the_interval_of_blocks_covers_where_that_of_windows_does_not():
    """Eight windows of each binary, all of them found or missed together."""
    rng = np.random.default_rng(7)
    spread, truth = 1.0, norm.cdf(1.5 / np.sqrt(1 + 1.0 + 0.1))
    covered = np.zeros(2)
    for trial in range(200):
        noise = rng.normal(size=200)
        signals = np.repeat(rng.normal(1.5, spread, 25), 8) + rng.normal(0, np.sqrt(0.1), 200)
        blocks = np.arange(200), 200 + np.arange(200) // 8
        estimates = auc(noise, signals), block_auc(noise, signals, *blocks, draws=200, seed=trial)
        covered += [estimate.low <= truth <= estimate.high for estimate in estimates]
    windows, binaries = covered / 200
    assert windows < 0.8
    assert 0.87 < binaries <= 0.99


def test_tpr_is_at_most_the_rate_asked_for(scores):
    """Never the first point beyond it, which is optimistic."""
    noise, signals = scores
    curve = roc(noise, signals)
    for fpr in (1 / 300, 0.0042, 0.01, 0.1, 0.5, 1.0):
        allowed = curve.false_positive_rate <= fpr + 1e-12
        expected = curve.true_positive_rate[allowed].max()
        estimate = tpr_at_fpr(noise, signals, fpr)
        assert estimate.value == pytest.approx(expected)
        assert estimate.low <= expected <= estimate.high


def test_tpr_below_the_resolution_is_refused(scores):
    with pytest.raises(ValueError, match=r"resolution of 0\.00333 that 300 noise windows"):
        tpr_at_fpr(*scores, fpr=1e-3)


def test_nan_and_too_few_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        roc(np.array([0.0, np.nan]), np.ones(2))
    with pytest.raises(ValueError, match="at least two"):
        auc(np.zeros(1), np.ones(5))
