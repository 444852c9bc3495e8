"""Distances of samples against closed forms, SciPy and brute force."""

import jaxtyping
import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

import etude as et
from etude.systems import generative as gen

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 3))
Y = RANDOM.normal(size=(500, 3)) @ np.array([[1.0, 0.4, 0.0], [0.0, 1.2, 0.0], [0.0, 0.0, 0.7]])


def test_a_shift_is_its_length_by_the_root_of_the_dimension():
    shift = np.array([2.0, -1.0, 2.0])
    found = gen.sliced_wasserstein(X, X + shift)
    assert found.value == pytest.approx(3 / np.sqrt(3), rel=0.1)
    assert found.low < found.value < found.high
    assert gen.sliced_wasserstein(X, X).value == 0


def test_in_one_dimension_it_is_that_of_scipy():
    """W_2 is at least W_1, and equal where all points move as far."""
    a, b = X[:500, :1], Y[:, :1]
    exact = wasserstein_distance(a[:, 0], b[:, 0])
    assert gen.sliced_distance(a, b) == pytest.approx(exact)
    assert gen.sliced_wasserstein(a, b, order=1).value == pytest.approx(exact)
    assert gen.sliced_wasserstein(a, b).value > exact
    assert gen.sliced_wasserstein(a, a + 0.7).value == pytest.approx(0.7)


def test_the_discrepancy_by_brute_force():
    x, y, b = X[:9], Y[:7], 0.8

    def k(p, q):
        return np.exp(-((p - q) ** 2).sum() / (2 * b * b))

    xx = np.mean([k(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j])
    yy = np.mean([k(p, q) for i, p in enumerate(y) for j, q in enumerate(y) if i != j])
    xy = np.mean([k(p, q) for p in x for q in y])
    found = gen.mean_discrepancy(x, y, bandwidth=b)
    assert found.value == pytest.approx(xx + yy - 2 * xy)


def test_the_discrepancy_of_one_distribution_is_zero_in_the_mean():
    values = [
        gen.mean_discrepancy(*RANDOM.normal(size=(2, 60, 2)), bandwidth=1.0).value
        for _ in range(60)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(60)


def test_the_frechet_distance_against_a_matrix_root():
    a, b = np.cov(X, rowvar=False), np.cov(Y, rowvar=False)
    apart = X.mean(0) - Y.mean(0)
    expected = apart @ apart + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert gen.frechet_distance(X, Y).value == pytest.approx(expected, rel=1e-6)
    assert gen.frechet_value(X, Y) == gen.frechet_distance(X, Y).value
    assert gen.frechet_distance(X, X).value == pytest.approx(0, abs=1e-9)
    # One dimension: the difference of means and of standard deviations, squared.
    one = gen.frechet_distance(X[:, :1], 2 * X[:, :1] + 1).value
    std, mean = X[:, 0].std(ddof=1), X[:, 0].mean()
    assert one == pytest.approx((mean + 1) ** 2 + std**2)
    # A degenerate feature does no harm.
    flat = np.concatenate([X, np.zeros((600, 1))], 1)
    assert gen.frechet_distance(flat, flat).value == pytest.approx(0, abs=1e-9)


def test_precision_and_recall_tell_the_two_failures_apart():
    data = RANDOM.normal(size=(400, 2)) + np.where(np.arange(400) % 2, 6.0, -6.0)[:, None]
    half = data[data[:, 0] > 0] + 1e-9  # one mode of two
    wide = np.concatenate([data, RANDOM.uniform(-30, 30, (400, 2)) + 100])
    assert gen.precision(half, data).value == 1
    assert 0.45 < gen.recall(half, data).value < 0.65
    assert gen.precision(wide, data).value == pytest.approx(0.5)
    assert gen.recall(wide, data).value == 1
    by_hand = [
        any(np.linalg.norm(p - c) <= np.sort(np.linalg.norm(data - c, axis=1))[3] for c in data)
        for p in X[:40, :2]
    ]
    assert gen.precision(X[:40, :2], data).value == np.mean(by_hand)


def test_copies_are_memorised():
    train, held_out = RANDOM.normal(size=(2, 300, 4))
    fresh = RANDOM.normal(size=(400, 4))
    assert gen.memorised(train, train, held_out).value == 1
    found = gen.memorised(fresh, train, held_out)
    assert found.low < 0.5 < found.high
    assert gen.memorised(held_out, train, held_out).value == 0


def test_as_near_to_both_is_one_half():
    """Samples that are held out and learnt alike: nothing is known of them."""
    train = RANDOM.normal(size=(40, 4))
    assert gen.memorised(train, train, train) == (0.5, 0.5, 0.5)
    held_out = np.concatenate([train[:20], train[20:] + 1])
    found = gen.memorised(train, train, held_out)
    assert found.value == 0.75
    # Of values that are 1 and one half alike often, the standard deviation is a quarter.
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.25 / np.sqrt(40), rel=0.25)


@pytest.mark.parametrize(
    "measure",
    [
        gen.sliced_wasserstein,
        gen.mean_discrepancy,
        gen.frechet_distance,
        gen.precision,
        gen.recall,
        lambda x, y: gen.memorised(x, x, y),
    ],
    ids=["sliced", "discrepancy", "frechet", "precision", "recall", "memorised"],
)
def test_an_interval_holds_its_value(measure):
    for x, y in ((X[:40], X[:40]), (X[:40], Y[:40]), (X[:5], 3 + Y[:5]), (X[:5], X[1:6])):
        found = measure(x, y)
        assert found.low <= found.value <= found.high
        assert {type(number) for number in found} == {float}


def test_few_rows_have_an_interval():
    found = gen.mean_discrepancy(X[:3], Y[:3])
    assert np.isfinite(found).all()
    assert found.low < found.high


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    "measure",
    [
        gen.sliced_wasserstein,
        gen.sliced_distance,
        gen.mean_discrepancy,
        gen.frechet_distance,
        gen.precision,
        gen.recall,
        lambda x, y, **options: gen.memorised(x, y, y, **options),
    ],
    ids=["sliced", "distance", "discrepancy", "frechet", "precision", "recall", "memorised"],
)
@pytest.mark.usefixtures("unchecked")
def test_every_measure_refuses_what_are_no_rows_of_numbers(measure):
    for bad, words in [
        (X * 1j, "are complex128"),
        (X.astype(str), "needs an array of real numbers"),
        (np.float64(1.0), r"shape \(\)"),
        (X[:, :0], r"shape \(600, 0\)"),
        (X[:0], "are 0 rows"),
        (X * 1e200, "values beyond 1e\\+70"),
    ]:
        with pytest.raises(et.DataError, match=f"samples .*{words}"):
            measure(bad, Y)
        with pytest.raises(et.DataError, match=f"(data|samples) .*{words}"):
            measure(X, bad)
    for seed in (-1, 1.5, True):
        with pytest.raises(et.ConfigurationError, match=f"seed .*got {seed}"):
            measure(X, Y, seed=seed)


def test_an_interval_of_a_share_is_that_of_its_binomial():
    train, held_out, fresh = RANDOM.normal(size=(3, 400, 4))
    found = gen.memorised(fresh, train, held_out)
    error = np.sqrt(found.value * (1 - found.value) / 400)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.25)


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda: gen.sliced_wasserstein(X, Y[:, :2]), et.DataError, "3 values each, and data 2"),
        (lambda: gen.sliced_wasserstein(X, Y, order=3), et.ConfigurationError, "order"),
        (lambda: gen.frechet_distance(X * np.nan, Y), et.DataError, "samples are 600 rows"),
        (lambda: gen.frechet_distance(X, Y[:1]), et.DataError, "data are 1 rows"),
        (lambda: gen.precision(X, Y, neighbours=0), et.ConfigurationError, "from 1 to 499"),
        (lambda: gen.recall(X[:3], Y, neighbours=3), et.ConfigurationError, "from 1 to 2"),
        (lambda: gen.memorised(X, Y[:5], Y[:9]), et.DataError, "5 training rows and 9"),
        (lambda: gen.mean_discrepancy(X, Y, bandwidth=-1.0), et.ConfigurationError, "positive"),
        (lambda: gen.sliced_wasserstein(X, Y, order=True), et.ConfigurationError, "got True"),
        (lambda: gen.recall(X, Y, neighbours=1.5), et.ConfigurationError, "got 1.5"),
        (lambda: gen.mean_discrepancy(X, Y, bandwidth=np.inf), et.ConfigurationError, "finite"),
        (lambda: gen.mean_discrepancy(X[:2], Y), et.DataError, "2 rows.*needs 3"),
        (lambda: gen.mean_discrepancy(X, Y * 0), et.ConfigurationError, "all alike"),
    ],
    ids=[
        "shape",
        "order",
        "nan",
        "one",
        "none",
        "many",
        "few",
        "negative",
        "truth",
        "half",
        "infinite",
        "two",
        "alike",
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_compared_is_refused(call, error, named):
    with pytest.raises(error, match=named):
        call()
