"""`etude train RECIPE --population N`: the trials of a method as one population."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import seeded
from crowd import close
from seeded import Lines

import etude as et
from etude.cli.main import main
from etude.run import History, Run, Status
from etude.run.listing import listed


def go(folder, said=None, **options):
    config = options.pop("config", Lines())
    say = (lambda line: None) if said is None else said.append
    return seeded.recipe.run(config, folder, progress=False, say=say, **options)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same experiment one after another, and side by side."""
    folder = tmp_path_factory.mktemp("recipe")
    said: list[str] = []
    tables = go(folder / "one"), go(folder / "many", said, population=True)
    return folder, tables, said


def test_each_trial_has_the_run_that_it_would_have_had(both):
    folder, (one, many), said = both
    assert one == many
    assert "fast: 2 trials side by side, seeds 0, 1" in said
    for place in (".", "trials/fast-1"):
        ours, theirs = folder / "many" / place, folder / "one" / place
        mine, other = History.open(ours), History.open(theirs)
        assert mine.names == other.names
        np.testing.assert_allclose(
            mine["train/loss"].value, other["train/loss"].value, rtol=1e-4, atol=1e-6
        )
        records = [dict.fromkeys(record) for record in mine]
        assert records == [dict.fromkeys(record) for record in other]
        assert Status.read(ours).state == "finished"
        assert Status.read(ours).steps == Status.read(theirs).steps
        with Run.open(ours, lock=False) as left, Run.open(theirs, lock=False) as right:
            assert left.config["configuration"] == right.config["configuration"]
    trial = seeded.trials(Lines())[1]
    close(trial.load(folder / "many/trials/fast-1"), trial.load(folder / "one/trials/fast-1"))


def test_its_runs_are_measured_and_go_on_alone(both, tmp_path):
    folder, _, _ = both
    table = seeded.recipe.evaluate(Lines(), folder / "many", "valid", say=lambda line: None)
    assert [row[0] for row in table.rows] == ["fast"]
    trial = seeded.trials(Lines(steps=20))[1]
    trainer = trial.build(run=folder / "many/trials/fast-1", progress=False)
    assert trainer.resume().history["train/loss"].step[-1] == 20


def test_over_devices(both, tmp_path, monkeypatch):
    """A trial on each of two devices, interrupted and gone on with as it was begun."""
    folder, (one, _), _ = both

    def failing(*arguments):
        raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr("etude.population.handing_out.FinishedPopulation.hand_out", failing)
        with pytest.raises(RuntimeError, match="plug"):
            go(tmp_path / "run", population=True, devices=2)
    assert Run.open(tmp_path / "run", lock=False).config["devices"] == 2
    assert go(tmp_path / "run", resume=True) == one
    (begun,) = [
        event
        for event in History.open(tmp_path / "run/populations/fast").events
        if event["event"] == "phase_begin"
    ]
    assert begun["devices"] == [0, 1]
    for place in (".", "trials/fast-1"):
        mine, alone = (History.open(run / place) for run in (tmp_path / "run", folder / "one"))
        np.testing.assert_array_equal(mine["train/loss"].value, alone["train/loss"].value)
        assert "devices" not in Run.open(tmp_path / "run" / place, lock=False).config


def test_a_phase_that_became_longer_before_it_was_handed_out(both, tmp_path, monkeypatch):
    def failing(*arguments):
        raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr("etude.population.handing_out.FinishedPopulation.hand_out", failing)
        with pytest.raises(RuntimeError, match="plug"):
            go(tmp_path / "run", config=Lines(steps=4), population=True)
    go(tmp_path / "run", config=Lines(steps=9), resume=True)
    history = History.open(tmp_path / "run/trials/fast-1")
    assert history["train/loss"].step.tolist() == list(range(1, 10))
    ends = [event["step"] for event in history.events if event["event"] == "phase_end"]
    assert ends == [9]


def test_more_devices_than_trials_are_refused(tmp_path):
    with pytest.raises(et.ConfigurationError, match=r"fast: A population of 1 .* over 2 devices"):
        go(tmp_path / "run", config=Lines(repeats=1), population=True, devices=2)
    with pytest.raises(et.ConfigurationError, match=r"mesh\(members=3\) needs more devices"):
        go(tmp_path / "run", population=True, devices=3)
    assert not (tmp_path / "run").exists()


def test_what_was_trained_side_by_side_says_so_ever_after(tmp_path, monkeypatch):
    """Interrupted, finished, gone on with one after another, and trained anew."""
    folder, short, long = tmp_path / "run", Lines(steps=2), Lines(steps=3)
    said: list[str] = []

    def failing(*arguments):
        raise RuntimeError("pulled the plug")

    def says(place="."):
        return Run.open(folder / place, lock=False).config.get("population")

    with monkeypatch.context() as patch:
        patch.setattr("etude.population.handing_out.FinishedPopulation.hand_out", failing)
        with pytest.raises(RuntimeError, match="plug"):
            go(folder, config=short, population=True)
    with pytest.raises(et.RunError, match=r"no checkpoints of their own .* got 'step-2'"):
        go(folder, config=short, resume=True, at=(folder, "step-2"))
    assert says() is True
    go(folder, config=short, resume=True)
    assert (says(), says("trials/fast-1")) == ("handed out", None)
    go(folder, said, config=Lines(steps=3, repeats=3), resume=True)
    go(folder, said, config=long, resume=True, at=(folder, "step-3"))
    assert not any("side by side" in line for line in said)
    assert (says(), says("trials/fast-1")) == ("handed out", None)
    go(folder, said, config=long, population=True, overwrite=True)
    assert "fast: 2 trials side by side, seeds 0, 1" in said


@pytest.mark.slow
def test_interrupted_and_resumed(tmp_path, monkeypatch):
    folder, two = tmp_path / "run", Lines(methods=2)

    def failing(*arguments):
        raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr("etude.population.handing_out.FinishedPopulation.hand_out", failing)
        with pytest.raises(RuntimeError, match="plug"):
            go(folder, config=two, population=True)
    said: list[str] = []
    table = go(folder, said, config=two, resume=True)
    assert "slow: 2 trials side by side, seeds 0, 1" in said
    assert table == go(tmp_path / "other", config=two, population=True)


def test_an_interrupted_population_is_listed_as_such(tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def failing(*arguments):
        raise RuntimeError("pulled the plug")

    monkeypatch.setattr("etude.population.handing_out.FinishedPopulation.hand_out", failing)
    with pytest.raises(RuntimeError, match="plug"):
        go(folder, config=Lines(steps=2), population=True)
    crowd = folder / "populations/fast"
    for stands, told in (
        ("finished", "interrupted"),  # and not handed out
        ("interrupted", "interrupted"),
        ("failed", "failed"),
        ("training", "killed"),
    ):
        Status(stands).write(crowd)
        found = listed(folder)
        assert (found.state, found.trials) == (told, "0 of 2")


def test_trials_that_are_spread_by_the_recipe_are_refused(tmp_path):
    def spread(config):
        return [
            replace(one, build=partial(one.build, mesh=et.mesh(data=2)))
            for one in seeded.trials(config)
        ]

    recipe = replace(seeded.recipe, trials=spread)
    with pytest.raises(et.ConfigurationError, match=r"'fast' are spread over devices by the rec"):
        recipe.run(Lines(), tmp_path / "run", population=True, progress=False)
    assert not (tmp_path / "run").exists()


def test_what_differs_is_refused(tmp_path):
    for field, what in (("shifted", "data of phase 'fit'"), ("closed", "steps or measures")):
        with pytest.raises(et.ConfigurationError, match=f"more than the seed differs: {what}"):
            go(tmp_path / field, config=Lines(**{field: True}), population=True)
        assert not (tmp_path / field).exists()


@pytest.mark.slow
def test_a_trial_that_is_not_finite_is_named_and_the_others_are_kept(tmp_path):
    config = Lines(broken=True, repeats=6)
    with pytest.raises(et.NonFiniteError, match=r"fast: not all trials .* seed \d: Phase 'fit'"):
        go(tmp_path / "run", config=config, population=True)
    assert list((tmp_path / "run/trials").iterdir())


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(seeded.__file__.rsplit("/", 1)[0])
    line = ["train", "seeded:recipe", "--run", "many", "--population", "2", "--steps", "4"]
    assert not main(line)
    printed = capsys.readouterr().out
    assert "fast: 2 trials side by side, seeds 0, 1" in printed
    assert Run.open(tmp_path / "many", lock=False).config["configuration"]["repeats"] == 2
    for extra, message in (
        (["--repeats", "4"], "--population is the number of seeds"),
        (["--population", "1"], "--population"),
        (["--devices", "3"], "got 2 (cpu), expected 3"),
    ):
        given = [] if "--population" in extra else ["--population", "2"]
        assert main([*line[:4], "--overwrite", *given, *extra]) == 2
        assert message in capsys.readouterr().err
