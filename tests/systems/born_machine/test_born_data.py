"""Data: splits that do not mix, scaling from the training part, entropies by other means."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from etude.errors import DataError
from etude.systems.born_machine.config_model import TOYS, DatasetConfig
from etude.systems.born_machine.data import SPLITS, DataHandler, Scaling
from etude.systems.born_machine.densities import DENSITIES, SUPPORT

DOMAIN = (-1.0, 1.0)


def handler(name, **options):
    return DataHandler(DatasetConfig(name=name, **options), DOMAIN)


def rows(split):
    return {tuple(row) for row in split.x.tolist()}


@pytest.mark.parametrize("name", sorted(TOYS))
def test_sizes_are_those_of_the_reference_and_stratified(name):
    data = handler(name)
    size, split = TOYS[name]["size"], TOYS[name].get("split", (0.5, 0.25, 0.25))
    for part, fraction in zip(SPLITS, split, strict=True):
        counts = np.bincount(data.splits[part].y)
        np.testing.assert_array_equal(counts, [round(size * fraction)] * 2)


@pytest.mark.parametrize("name", ["moons_hard", "spirals_hard", "squares"])
def test_no_sample_is_in_two_splits(name):
    """The original's loaders for the critic mixed all splits and divided them again."""
    data = handler(name)
    train, valid, test = (rows(data.splits[part]) for part in SPLITS)
    assert not train & valid
    assert not train & test
    assert not valid & test
    for part in SPLITS:
        for groups, _ in data.discrimination[part].sequential():
            for label, group in enumerate(np.asarray(groups).swapaxes(0, 1)):
                own = {tuple(row) for row in data.of_class(part, label).tolist()}
                assert {tuple(row) for row in group.tolist()} <= own


def test_a_critic_may_see_other_batches_than_a_classifier():
    data = handler("moons_small")  # 30 training samples of each class
    assert data.by_class("train", 8).steps_per_epoch == 4  # the last one of 6
    groups, _ = next(data.by_class("valid", 8).sequential())
    assert groups.shape == (8, 2, 2)
    assert data.by_class("train", 1000).steps_per_epoch == 1


def test_scaling_is_fitted_on_the_training_part_alone():
    data = handler("moons_small")
    x = data.splits["train"].x
    np.testing.assert_allclose(x.min(axis=0), -1, atol=1e-6)
    np.testing.assert_allclose(x.max(axis=0), 1, atol=1e-6)
    # 60 of 400 samples do not reach as far as the others, which are therefore clipped.
    assert data.clipped["train"] == 0
    assert data.clipped["test"] > 0
    assert np.abs(data.splits["test"].x).max() == 1
    touching = np.any(np.abs(data.splits["test"].x) == 1, axis=1).mean()
    assert data.clipped["test"] == pytest.approx(touching)


def test_scaling_and_its_inverse():
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3)) * [1.0, 10.0, 0.0]
    scaling = Scaling.fit(x, (-4.0, 4.0))
    np.testing.assert_allclose(scaling.inverse(scaling(x)), x, atol=1e-5)
    np.testing.assert_array_equal(scaling(x)[:, 2], -4)  # constant in training: no division by 0


def test_the_same_data_whatever_the_order_of_use():
    first, second = handler("spirals_small"), handler("spirals_small")
    for part in SPLITS:
        np.testing.assert_array_equal(first.splits[part].x, second.splits[part].x)
    other = handler("spirals_small", split_seed=12)
    assert rows(other.splits["train"]) != rows(first.splits["train"])


def test_spirals_are_mirror_images():
    data = handler("spirals_4k", noise=0.0)
    raw = data.scaling.inverse(data.splits["train"].x)
    radius = np.linalg.norm(raw, axis=1)
    angle = (radius - np.pi) / 2
    assert angle.min() > -1e-3
    assert angle.max() < 2 * np.pi + 1e-3
    sign = np.where(data.splits["train"].y == 0, 1, -1)
    expected = sign * radius * np.cos(angle)
    np.testing.assert_allclose(raw[:, 0], expected, atol=1e-3)


def test_evaluation_counts_every_sample_once():
    data = handler("moons_hard")
    batches = [np.asarray(batch[1]) for batch, _ in data.classification["valid"].sequential()]
    np.testing.assert_array_equal(np.concatenate(batches), data.splits["valid"].y)
    assert not data.classification["valid"].shuffle
    assert data.classification["train"].shuffle


def test_the_order_of_the_training_samples_is_chosen():
    data = DataHandler(DatasetConfig(name="moons_hard"), DOMAIN, shuffle="exact")
    for sources in (data.classification, data.discrimination):
        assert [sources[name].shuffle for name in SPLITS] == ["exact", False, False]


def grid(points):
    axis = np.linspace(*SUPPORT, points + 1)[:-1] + (SUPPORT[1] - SUPPORT[0]) / (2 * points)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("name", sorted(DENSITIES))
def test_entropies_by_quadrature_and_by_samples(name):
    x = grid(1000)
    cell = (SUPPORT[1] - SUPPORT[0]) ** 2 / len(x)
    for density in DENSITIES[name]:
        log_p = density.log_density(x)
        p = np.exp(log_p)
        assert np.sum(p) * cell == pytest.approx(1, abs=2e-3)
        quadrature = -np.sum(p[p > 0] * log_p[p > 0]) * cell
        assert density.entropy == pytest.approx(quadrature, abs=5e-3)
        drawn = density.sample(np.random.default_rng(1), 20_000)
        assert density.entropy == pytest.approx(-density.log_density(drawn).mean(), abs=0.03)


@pytest.mark.parametrize("name", sorted(DENSITIES))
def test_samples_follow_the_density(name):
    """Chi-square on the cells of a coarse grid, against the integral of the density."""
    edges = np.linspace(*SUPPORT, 9)
    x = grid(800)
    for density in DENSITIES[name]:
        weights = np.exp(density.log_density(x))
        expected = np.histogram2d(*x.T, [edges, edges], weights=weights)[0].ravel()
        drawn = density.sample(np.random.default_rng(2), 20_000)
        observed = np.histogram2d(*drawn.T, [edges, edges])[0].ravel()
        kept = expected > expected.sum() * 1e-3
        assert observed[~kept].sum() < 0.01 * len(drawn)
        frequencies = expected[kept] / expected[kept].sum() * observed[kept].sum()
        assert stats.chisquare(observed[kept], frequencies).pvalue > 1e-4


def test_truncated_gaussian_against_scipy():
    for density in DENSITIES["gaussians"]:
        expected = 0.0
        for mean, std in zip(density.mean, density.std, strict=True):
            ends = [(end - mean) / std for end in SUPPORT]
            expected += stats.truncnorm(*ends, loc=mean, scale=std).entropy()
        assert density.entropy == pytest.approx(float(expected))


def test_entropy_in_the_coordinates_of_the_domain():
    """Scaled to an interval twice as long, each coordinate gains log 2."""
    narrow = DataHandler(DatasetConfig(name="gaussians", size=100), (-1.0, 1.0))
    wide = DataHandler(DatasetConfig(name="gaussians", size=100), (-2.0, 2.0))
    assert narrow.entropy == pytest.approx(np.mean([d.entropy for d in DENSITIES["gaussians"]]))
    assert wide.entropy == pytest.approx(narrow.entropy + 2 * np.log(2))
    assert wide.clipped == dict.fromkeys(SPLITS, 0.0)
    assert handler("moons_small").entropy is None

    def density(x):
        return stats.norm(0.5, 0.1).pdf(x)

    scaling = Scaling(np.zeros(1), np.full(1, 3.0), (0.0, 3.0))
    raw = integrate.quad(lambda x: -density(x) * np.log(density(x)), 0, 1)[0]
    mapped = integrate.quad(
        lambda u: -density(u / 3) / 3 * np.log(density(u / 3) / 3), 0, 3, limit=200
    )[0]
    assert raw + scaling.log_volume == pytest.approx(mapped, abs=1e-5)


def test_pictures_keep_their_test_split():
    data = DataHandler(DatasetConfig(name="digits"), (0.0, 1.0))
    assert [len(data.splits[part].y) for part in SPLITS] == [1149, 288, 360]
    assert (data.sites, data.shape, data.classes) == (64, (8, 8), 10)
    assert not rows(data.splits["train"]) & rows(data.splits["test"])
    np.testing.assert_array_equal(data.scaling.factor, 1.0)


def test_binary_pictures_are_the_ends_of_the_domain():
    config = DatasetConfig(name="digits", scaler="binary", size=20)
    data = DataHandler(config, (0.0, 1.0))
    assert set(np.unique(data.splits["train"].x)) == {0.0, 1.0}
    np.testing.assert_array_equal(np.bincount(data.splits["train"].y), [20] * 10)
    assert len(data.splits["test"].y) == 360
    grey = DataHandler(DatasetConfig(name="digits"), (0.0, 1.0))
    np.testing.assert_array_equal(data.splits["test"].x, grey.splits["test"].x > 0.5)


def test_refuses_with_the_cure():
    with pytest.raises(DataError, match="leave 'valid' without one"):
        handler("moons_4k", size=4, split=(0.9, 0.05, 0.05))
    with pytest.raises(DataError, match="Lower size"):
        DataHandler(DatasetConfig(name="digits", size=1000), DOMAIN)


def own(count=120, classes=3, seed=0):
    """Samples of shape (2, 2), each with its number in it, and their classes."""
    y = np.arange(count) % classes
    x = np.random.default_rng(seed).normal(size=(count, 2, 2))
    x[:, 0, 0] = np.arange(count)
    return x, y


def test_arrays_of_ones_own_are_split_in_each_class():
    x, y = own()
    config = DatasetConfig(name="arrays", split=(0.5, 0.25, 0.25))
    data = DataHandler(config, DOMAIN, arrays=(x, jnp.asarray(y, jnp.uint8)))
    assert (data.sites, data.shape, data.classes) == (4, (2, 2), 3)
    seen = []
    for part, count in zip(SPLITS, (20, 10, 10), strict=True):
        samples = data.splits[part]
        np.testing.assert_array_equal(np.bincount(samples.y), [count] * 3)
        inside = np.abs(samples.x).max(axis=1) < 1  # what was clipped is not to be undone
        raw = data.scaling.inverse(samples.x)
        numbers = np.rint(raw[inside, 0]).astype(int)
        np.testing.assert_allclose(raw[inside], x.reshape(120, 4)[numbers], atol=1e-3)
        np.testing.assert_array_equal(samples.y[inside], y[numbers])
        seen += numbers.tolist()
    assert len(set(seen)) == len(seen) > 60
    again = DataHandler(config, DOMAIN, arrays=(x, y))
    np.testing.assert_array_equal(again.splits["test"].x, data.splits["test"].x)


def test_arrays_that_are_split_already_stay_so():
    parts = {name: own(30, seed=k) for k, name in enumerate(SPLITS)}
    data = DataHandler(DatasetConfig(name="arrays"), DOMAIN, arrays=parts)
    for name, (x, y) in parts.items():
        np.testing.assert_array_equal(data.splits[name].y, y)
        expected = data.scaling(x.reshape(30, 4).astype(np.float32))
        np.testing.assert_array_equal(data.splits[name].x, expected)
    binary = DatasetConfig(name="arrays", scaler="binary", threshold=0.25)
    data = DataHandler(binary, (0.0, 1.0), arrays=parts)
    x = parts["test"][0].reshape(30, 4)
    np.testing.assert_array_equal(data.splits["test"].x, (x.astype(np.float32) > 0.25))


ARRAYS = DatasetConfig(name="arrays")
X, Y = own()


@pytest.mark.parametrize(
    ("config", "arrays", "message"),
    [
        (ARRAYS, None, r"arrays are not given.*arrays=\(x, y\)"),
        (DatasetConfig(name="moons_small"), (X, Y), "'moons_small' and arrays are given"),
        (ARRAYS, (X, Y[:-1]), "different numbers of samples: .*120.*119"),
        (ARRAYS, (X, Y - 1), "Label -1 of sample 0"),
        (ARRAYS, (X, Y / 1), "Labels must be integers"),
        (ARRAYS, (X[:, 0, 0], Y), r"x of 'all' has shape \(120,\)"),
        (ARRAYS, (np.where(X == 7, np.nan, X), Y), r"'x'.* non-finite.*\(7, 0, 0\)"),
        (ARRAYS, {"train": (X, Y)}, "'train'; expected"),
        (ARRAYS, {**dict.fromkeys(SPLITS, (X, Y)), "test": (X[:, 0], Y)}, "several shapes"),
        (ARRAYS, {**dict.fromkeys(SPLITS, (X, Y)), "train": (X, Y * 0)}, "lacks some of 3"),
        (ARRAYS, (X[:6], Y[:6]), "2 samples of a class leave '(valid|test)' without one"),
    ],
)
def test_arrays_that_do_not_fit(config, arrays, message):
    with pytest.raises(DataError, match=message):
        DataHandler(config, DOMAIN, arrays=arrays)


def test_files_by_their_name(tmp_path):
    x, y = own()
    np.savez(tmp_path / "own.npz", x=(x - x.min()) / np.ptp(x), y=y)
    config = DatasetConfig(name="own.npz", root=str(tmp_path), split=(0.75, 0.25, 0))
    data = DataHandler(config, (0.0, 1.0))
    assert [len(data.splits[part].y) for part in SPLITS] == [72, 24, 24]
    assert (data.shape, data.classes) == ((2, 2), 3)
    with pytest.raises(ValueError, match=r"got 'own2\.npz', expected moons_4k.*npz file"):
        DatasetConfig(name="own2.npz")
    with pytest.raises(ValueError, match="leave size out"):
        DatasetConfig(name="arrays", size=5)
