"""No split of any recipe is reached by another's data or randomness.

A network is chosen on "valid" and judged on "test": what they share, the choice has seen.
"""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.systems.attractor.recipes.pictures import pictures as attractor_pictures
from etude.systems.attractor.recipes.prototypes import prototypes
from etude.systems.born_machine.recipes import pictures as born_pictures, plane
from etude.systems.gravitational_waves import Mixing
from etude.systems.gravitational_waves.recipes import Demo
from etude.systems.gravitational_waves.recipes.shared import bank, judged, mixing_of
from etude.systems.gravitational_waves.recipes.survey import Survey, pieces
from etude.systems.quickstart.data import digits

SPLITS = ("train", "valid", "test")


def rows_of(x) -> set[bytes]:
    """The samples of an array, as values that can be compared."""
    x = np.asarray(x)
    return {row.tobytes() for row in x.reshape(len(x), -1)}


def assert_apart(splits: dict[str, np.ndarray], most: int = 0) -> None:
    """No sample is in two splits, but for `most` that the data hold twice by themselves."""
    for one, other in combinations(splits, 2):
        shared = rows_of(splits[one]) & rows_of(splits[other])
        assert len(shared) <= most, (one, other, len(shared))


def test_windows_of_gravitational_waves_have_nothing_in_common():
    """Noise, loudness, mergers, directions and binaries; the statistic is a sample of each window.

    The recipes `demo`, `labels`, `twin`, `encodings` and `joint` are judged by these windows.
    """
    config = Demo(signals=64, filters=2, test_windows=1024, chirps=False)

    def sample(windows, *, key):
        del key
        return jnp.stack([jnp.zeros(len(windows)), windows[:, 100, 0]], axis=1)

    drawn = {split: judged(config, sample, split) for split in SPLITS}
    signals = {split: bank(config, split).signals[:, :, 0, 0] for split in SPLITS}
    assert_apart({split: found.statistic for split, found in drawn.items()})
    # Two of thousands of numbers in float32 may agree by chance.
    assert_apart({split: found.snr[found.snr > 0] for split, found in drawn.items()}, most=2)
    assert_apart(signals)
    assert_apart({split: Mixing(split=split).places[0] for split in SPLITS})
    # In the same place of the same chunk: what a key without the split in it would repeat.
    one, other = drawn["valid"], drawn["test"]
    assert abs(np.corrcoef(one.statistic, other.statistic)[0, 1]) < 0.15
    assert np.mean((one.snr > 0) == (other.snr > 0)) < 0.6
    assert drawn["test"].snr.tolist() == judged(config, sample, "test").snr.tolist()


def test_windows_that_train_are_none_that_judge():
    """The engine's keys of all steps of training lead to other noise than those of the splits."""
    from etude.engine.randomness import AUGMENTATION, phase_key
    from etude.systems.gravitational_waves.bank import split_key

    train = [
        jax.random.fold_in(jax.random.fold_in(phase_key(0, phase, 0), step), AUGMENTATION)
        for phase in ("cpc", "snn", "joint")
        for step in range(20)
    ]
    judging = [key for split in SPLITS for key in jax.random.split(split_key(0, split), 16)]
    keys = [jax.random.key_data(key).tobytes() for key in (*train, *judging)]
    assert len(set(keys)) == len(keys)


def test_streams_of_the_survey_have_nothing_in_common():
    """The recipe `search`: noise and binaries of both splits, with and without signals."""
    streams, mergers = {}, {}
    for split in ("valid", "test"):
        survey = Survey(foreground=0.03, background=0.03, piece=108.0, split=split)
        for injected in (False, True):
            (piece,) = pieces(survey, injected=injected)
            streams[split, injected] = piece.values[:20000]
            if injected:
                mergers[split] = piece.times, piece.parameters.mass_1, piece.snr
    assert_apart(streams)
    for one, other in combinations(streams.values(), 2):
        assert abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1]) < 0.05
    for one, other in zip(*mergers.values(), strict=True):
        assert not np.intersect1d(one, other).size


def test_incoherent_windows_of_a_split_are_its_own():
    """`mixing_of` trains: the same key and signals give other windows on another split."""
    config = Demo(signals=64, filters=2, chirps=False)
    train = mixing_of(config)
    other = Mixing(**{**vars(Mixing()), "merger": train.merger, "split": "test"})
    signals, key = jnp.asarray(bank(config, "train").signals[:8]), jax.random.key(0)
    assert train.split == "train"
    assert not np.array_equal(train(signals, key)[0], other(signals, key)[0])


def test_digits_are_in_one_split():
    assert_apart({name: split.images for name, split in digits().items()})


@pytest.mark.parametrize("name", ["digits"])
def test_pictures_of_attractors_are_in_one_split(name):
    assert_apart({split: x for split, (x, _) in attractor_pictures(name).items()})


def test_prototypes_have_fresh_samples_in_every_split():
    _, splits = prototypes(0)
    assert_apart({split: x for split, (x, _) in splits.items()})
    _, other = prototypes(1)
    assert_apart({"this seed": splits["test"][0], "another": other["test"][0]})


@pytest.mark.parametrize("name", ["moons_4k", "circles_4k", "spirals_4k", "gaussians", "annuli"])
def test_points_of_the_plane_are_in_one_split(name):
    assert_apart({split: part.x for split, part in plane.data(name).splits.items()})


def test_pictures_of_born_machines_are_in_one_split():
    assert_apart({k: part.x for k, part in born_pictures.data("digits", None).splits.items()})
