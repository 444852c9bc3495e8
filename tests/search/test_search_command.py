"""`etude search`: the space is checked first, the same command goes on, and a report shows it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.cli.main import main
from etude.search import GridSearch, Results

RECIPE = "little_recipe:recipe"


@pytest.fixture
def etude(monkeypatch, tmp_path, capsys):
    """Runs a command in an empty folder: `(exit code, standard output, standard error)`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def space(text):
    Path("space.yaml").write_text(text)
    return ("--space", "space.yaml")


def test_a_grid_from_the_command_line_to_the_best_configuration(etude):
    line = ("search", RECIPE, *space("rate: [0.1, 1e-2, 0.3]\nsteps: [10]"), "--method", "grid")
    line += ("--run", "runs/s", "--kind", "mine", "--constraint", "rate < 0.2")
    code, out, err = etude(*line, "--trials", 1)
    assert (code, err) == (0, "")
    assert out.startswith("[1/1] trial 0: valid/loss ")
    code, out, err = etude(*line)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Going on: 1 complete."
    assert "2 complete; how: etude report runs/s" in out
    results = Results.open("runs/s")
    assert results["rate"] == [0.1, 0.01]
    best = f"etude train {RECIPE} --config runs/s/best.yaml"
    assert f"The best: {best}" in out
    code, out, err = etude(*best.split()[1:], "--run", "runs/best")
    assert code == 0, err
    # The same training, to the bit; and a trial is a run like any other.
    one, other = (
        (folder / "history.bin").read_bytes()
        for folder in (Path(f"runs/s/trials/{results.best.number:04d}"), Path("runs/best"))
    )
    assert one == other
    code, out, err = etude("evaluate", "runs/s/trials/0000", "--recipe", RECIPE)
    assert (code, "little" in out) == (0, True)
    code, out, err = etude("report", "runs/s")
    assert (code, out) == (0, "runs/s/report.html\n")
    page = Path(out.strip()).read_text()
    assert page.count("<img") == 3  # two trials are too few for importances, one field for a map
    assert "2 trials: 2 complete" in page


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("raet: [1, 2]", (), ["space.yaml: raet: unknown field; did you mean 'rate'?"]),
        ("rate: {low: 1, high: 1}", (), ["space.yaml: rate: the range is empty: low 1 is not"]),
        ("rate: {low: 0, high: 1}\nstepz: [1, 2]", ("--trials", 0, "--stepz", 3, "--mode", "mx"), [
            "5 problems:", "--trials: should be greater than or equal to 1; got '0'.",
            "--mode: expected 'min' or 'max'; did you mean 'max'?", "There is no option --stepz",
            "space.yaml: rate: should be greater than 0; got 0.0.",
            "space.yaml: stepz: unknown field; did you mean 'steps'?",
        ]),
        ("rate: [1, 2]", (), ["trials is a whole number from 1; got None."]),
        ("rate: [1, 2]", ("--trials", 2, "--rate", 3), ["--rate is varied by space.yaml"]),
        ("rate: [1, 2]\nsteps: 5", ("--trials", 2, "--steps", 3), ["--steps is given by space.y"]),
        ("rate: [1, 2]\nseed: 5", ("--trials", 2), ["seed: the first seed is that of the conf"]),
        ("rate: [1, 2]", ("--trials", 2, "--metric", "valid/a"), ["or a large 'valid/a' better"]),
        ("rate: [1, 2]", ("--trials", 2, "--metric", "valid/los"), ["Did you mean 'valid/loss'"]),
        ("rate: [1, 2]", ("--trials", 2, "--metric", "test/loss"), ["no test left"]),
        ("rate: [1, 2]", ("--trials", 2, "--constraint", "stps < 3"), ["Did you mean 'steps'"]),
        ("rate: [1, 2]", ("--trials", 2, "--storage", "sqlite:////no/a.db"), ["cannot be reached"]),
        ("rate: {low: 1, high: 2}", ("--method", "grid"), ["a grid needs a list of values"]),
        ("- rate", ("--trials", 2), ["holds a list; write `field: value` lines"]),
        ("", ("--trials", 2), ["The space varies nothing"]),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_what_cannot_be_searched_is_said_before_any_work(text, options, told, etude):
    mode = ("--mode", "max") if "valid/los" in options else ()
    code, out, err = etude("search", RECIPE, *space(text), *options, *mode, "--run", "runs/s")
    assert (code, out) == (2, "")
    for line in told:
        assert line in err
    assert "Traceback" not in err
    assert not Path("runs/s").exists()


def test_a_search_is_told_from_a_run(etude):
    search = GridSearch(target=lambda x: x, space={"x": [1, 2]}, mode="min", folder="runs/s")
    plan = search.plan(None)
    assert plan.folder == Path("runs/s").absolute()
    for line in (
        ("cite", "runs/s"),
        ("history", "runs/s"),
        ("export", "runs/s"),
        ("resume", "runs/s"),
        ("evaluate", "runs/s"),
        ("report", "runs/other", "runs/s"),
        ("report", "runs/s", "runs/other"),
    ):
        code, _, err = etude(*line)
        assert code == 2
        if "runs/other" not in line:
            assert "runs/s is a search, not a run: its best setting is in " in err
            assert "runs/s/best.yaml, its trials are runs in " in err


def test_a_space_is_needed(etude):
    code, _, err = etude("search", RECIPE, "--trials", 2)
    assert (code, "--space is missing: a YAML file of what is varied" in err) == (2, True)
    code, _, err = etude("search", RECIPE, "--trials", 2, "--space", "nowhere.yaml")
    assert (code, "nowhere.yaml cannot be read: No such file" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_signal_ends_well_and_the_same_command_goes_on(workers, number, tmp_path, listening):
    (tmp_path / "space.yaml").write_text("rate: {low: 1e-3, high: 1, log: true}")
    here = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    line = [sys.executable, "-m", "etude.cli.main", "search", RECIPE, "--space", "space.yaml"]
    line += ["--trials", "3", "--workers", str(workers), "--run", "s", "--pause", "0.2"]
    line += ["--steps", "60", "--prune", "never"]
    process = subprocess.Popen(
        line, cwd=tmp_path, env=here, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    while not list(tmp_path.glob("s/trials/*/checkpoints/*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 3, err
    assert "Go on with: etude search little_recipe:recipe --space space.yaml --trials 3" in err
    assert "Traceback" not in err
    done = subprocess.run(line, cwd=tmp_path, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = Results.open(tmp_path / "s")
    assert results["state"] == ["complete"] * 3
    assert all(trial.user_attrs["deaths"] == 0 for trial in results.optuna_trials)
