"""Recipes and commands of other packages, and of a module of one's own."""

import contextlib
import io
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import tiny_recipe as tiny
import yaml

from etude.catalogue import find_recipe, open_run
from etude.cli.main import main
from etude.cli.table import BUILT_IN
from etude.errors import ConfigurationError
from etude.run import Run
from etude.verbs import PredictOptions, SampleOptions, offered_command
from fields import Change, check_field, fields_of
from installed import installed, with_recipes

MODULE = f"""
import sys
sys.path.insert(0, {str(Path(tiny.__file__).parent)!r})
from dataclasses import replace
from tiny_recipe import recipe as tiny
from etude.table import Table
from etude.verbs import Command, PredictOptions, SampleOptions, Verb

def predict(model, config, inputs, options):
    row = (str(model.depth), str(config.steps))
    return Table(("input", "depth", "steps"), tuple((x, *row) for x in inputs))

def trials(config):
    narrow = config.model_copy(update={{"steps": 77}})
    return [replace(trial, config=narrow) for trial in tiny.trials(config)]

def sample(model, config, inputs, options):
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "drawn").write_text(str(options.seed))
    return Table(("sample",), tuple((str(k),) for k in range(options.count)))

mine = replace(
    tiny,
    trials=trials,
    predict=Verb("depth of each input", "WORD...", PredictOptions, predict),
    sample=Verb("numbers", "", SampleOptions, sample),
)
shout = Command("shouts", "WORD", PredictOptions, lambda words, options: Table(("word",), (
    (words[0].upper(),),)), "quietly")
nothing = 3
"""
QUICK = ("--steps", "4", "--repeats", "1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a module that holds a recipe, and two finished runs; the table of the second.

    `runs/a` is of the installed recipe, `runs/my_lines/mine` of the module's.
    """
    folder = tmp_path_factory.mktemp("trained")
    (folder / "my_lines.py").write_text(MODULE)
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        tiny.install(tmp_path_factory.mktemp("packages"))
        patch.chdir(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["train", "tiny", *QUICK, "--run", "runs/a"]) == 0
        with contextlib.redirect_stdout(out):
            assert main(["train", "my_lines:mine", *QUICK]) == 0
    return folder, out.getvalue()


@pytest.fixture
def mine(etude, trained, tmp_path):
    """The command in a copy of that folder; the module is forgotten again."""
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    yield etude
    sys.modules.pop("my_lines", None)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """`packages(name, groups)` installs one; the path is put back."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def install(name, groups):
        installed(tmp_path / name, groups, name)

    return install


def test_a_recipe_of_a_module_trains_goes_on_and_is_used_by_its_name(mine, trained, tmp_path):
    out = trained[1]
    run = tmp_path / "runs/my_lines/mine"
    assert yaml.safe_load((run / "config.yaml").read_text())["recipe"] == "my_lines:mine"
    again = ("--recipe", "my_lines:mine")
    assert mine("resume", run, *again)[0] == 0
    code, table, _ = mine("evaluate", run, *again)
    assert (code, table.splitlines()[-1]) == (0, out.splitlines()[-1])
    code, table, _ = mine("predict", run, "a", "b", *again)
    assert (code, table.splitlines()[2:]) == (0, ["a      1      77", "b      1      77"])
    assert mine("predict", run, *again, "--", "a", "--b")[1].splitlines()[3].startswith("--b")
    assert mine("predict", run, "a", "--out", "found", *again)[1].strip() == "found/predictions.csv"
    assert (tmp_path / "found/predictions.csv").read_text() == "input,depth,steps\na,1,77\n"
    assert mine("sample", run, "--count", 2, "--seed", 5, *again)[0] == 0
    assert (run / "samples/samples.csv").read_text() == "sample\n0\n1\n"
    assert (run / "samples/drawn").read_text() == "5"
    code, out, _ = mine("sample", run, *again, "--help")
    assert (code, "--count INT" in out, "numbers" in out) == (0, True, True)


def test_every_option_of_a_verb_changes_something(mine, tmp_path):
    run, again = tmp_path / "runs/my_lines/mine", ("--recipe", "my_lines:mine")

    def used(verb, *inputs):
        def files(options):
            """What the command prints, and the files that it leaves."""
            given = options.model_dump(
                exclude_none=True, exclude={"overwrite"}, mode="json"
            ).items()
            words = [word for name, value in given for word in (f"--{name}", value)]
            before = set(tmp_path.rglob("*"))
            printed = mine(verb, run, *inputs, *words, *again)[1]
            new = sorted(set(tmp_path.rglob("*")) - before)
            found = {path: path.read_text() for path in new if path.is_file()}
            for path in new:
                shutil.rmtree(path, ignore_errors=True)
            return printed, found

        return files

    def again_over(verb, *inputs):
        def ends(options):
            """How the command ends where its results are already."""
            words = ["--out", "twice", *(["--overwrite"] if options.overwrite else [])]
            mine(verb, run, *inputs, "--out", "twice", *again)
            code, _, err = mine(verb, run, *inputs, *words, *again)
            assert code == 0 or "replace it (--overwrite)" in err
            shutil.rmtree(tmp_path / "twice")
            return code

        return ends

    sampled, predicted = used("sample"), used("predict", "a")
    listed = {
        SampleOptions: {
            "count": Change(1, 2, sampled),
            "seed": Change(3, 4, sampled),
            "out": Change(None, "other", sampled),
            "overwrite": Change(False, True, again_over("sample")),
        },
        PredictOptions: {
            "out": Change(None, "other", predicted),
            "overwrite": Change(False, True, again_over("predict", "a")),
        },
    }
    for kind, changes in listed.items():
        for field in fields_of(kind, changes):
            check_field(kind, field, changes)


def test_the_way_on_names_the_recipe_again(mine, tmp_path):
    code, _, err = mine("train", "my_lines:mine", *QUICK)
    assert code == 2
    assert "etude resume runs/my_lines/mine --recipe my_lines:mine" in err


@pytest.mark.parametrize("verb", ["resume", "evaluate", "predict", "sample"])
def test_a_run_folder_never_decides_which_module_is_imported(mine, tmp_path, verb):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    file = tmp_path / "runs/a/config.yaml"
    file.write_text(file.read_text().replace("recipe: tiny", "recipe: evil:recipe"))
    code, _, err = mine(verb, "runs/a")
    assert code == 2
    assert "does not decide which code is imported" in err
    assert "in Python recipe='evil:recipe'." in err
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "my_lines:mien"), "Did you mean 'mine'?"),
        (("train", "my_lines:nothing"), "is a int; expected"),
        (("train", "my_lnies:mine"), "No module named 'my_lnies'"),
        (("train", "tinny"), "Did you mean 'tiny'?"),
        (("train", "math:pi"), "is a float; expected"),
        (("train", "math:recipe"), "It holds no recipe."),
        (("predict", "runs/a"), "does not offer `etude predict`"),
        (("sample", "runs/a", "--recipe", "my_lines:mine"), "was made by the recipe 'tiny'"),
        (("predict",), "The folder of a run comes first"),
        (("shuot",), "There is no command 'shuot'"),
    ],
)
def test_bad_use_is_a_sentence(mine, arguments, words):
    code, _, err = mine(*arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def test_what_a_verb_cannot_take_is_refused(mine):
    run = "runs/my_lines/mine"
    again = ("--recipe", "my_lines:mine")
    assert "After the run, WORD... is expected" in mine("predict", run, *again)[2]
    assert "comes first, and nothing else" in mine("sample", run, "x", *again)[2]
    assert "Did you mean 'count'?" in mine("sample", run, "--cuont", 3, *again)[2]
    assert (
        "count: should be greater than or equal to 1"
        in mine("sample", run, "--count", 0, *again)[2]
    )


def test_options_and_inputs_come_in_any_order(mine):
    run, recipe = "runs/my_lines/mine", ("--recipe", "my_lines:mine")
    code, out, _ = mine("predict", *recipe, run, "--overwrite", "a", "--out", "found", "b")
    assert (code, out) == (0, "found/predictions.csv\n")
    assert Path("found/predictions.csv").read_text().splitlines()[1:] == ["a,1,77", "b,1,77"]
    code, _, err = mine("predict", "--out", "other", run, "a", *recipe)
    assert (code, "The folder of a run comes first; got nothing before --out" in err) == (2, True)
    assert "WORD... is expected; got nothing.\n" in mine("predict", run, *recipe, "--overwrite")[2]
    err = mine("predict", run, *recipe, "--wrods", "a", "b")[2]
    assert "WORD... is expected; got nothing. Give it before --wrods, or after a bare --." in err


def test_a_file_in_the_way_of_results_is_named(mine):
    run, recipe = "runs/my_lines/mine", ("--recipe", "my_lines:mine")
    for line in (("predict", run, "a", "--out"), ("sample", run, "--out")):
        code, _, err = mine(*line, "my_lines.py", *recipe)
        assert code == 2
        assert "--out: a folder is written, and my_lines.py is a file: give another name" in err
    Path(run, "samples").write_text("kept")
    code, _, err = mine("sample", run, *recipe)
    assert (code, f"{run}/samples is a file: name a folder" in err) == (2, True)


def test_every_example_runs(mine, packages):
    """On a recipe that offers everything; what it is called does not matter to a command."""
    packages("own", {"etude.recipes": {"mine": "my_lines:mine"}})
    sys.path.insert(0, ".")
    words = {"digits-two-phase": "mine", "runs/plane": "runs/digits"}
    Path("space.yaml").write_text("optimizer.lr: {low: 0.01, high: 0.1}\nsteps: 5")
    for name, command in BUILT_IN.items():
        line = [words.get(word, word) for word in command.example.split()]
        code, _, err = mine(name, *line)
        assert code == 0, f"{name}: {err}"
    code, out, _ = mine("sample", "runs/digits", "--help")
    assert code == 0
    assert mine(*shlex.split(out.splitlines()[-1])[1:])[0] == 0
    assert "etude train mine --seed 1 --run runs/mine-1" in mine("train", "mine", "--help")[1]
    assert "--optimizer.lr FLOAT" in mine("resume", "runs/digits", "--help")[1]
    assert "usage: etude predict runs/digits WORD..." in mine("predict", "runs/digits", "-h")[1]


def test_a_command_of_a_package_is_part_of_etude(mine, packages):
    packages("shouter", {"etude.commands": {"shout": "my_lines:shout"}})
    sys.path.insert(0, ".")
    assert "shout" in mine("--help")[1]
    assert mine("shout", "hi")[1].splitlines()[-1] == "HI"
    out = mine("shout", "--help")[1]
    assert "--out PATH" in out
    assert out.endswith("Example:\n\n  etude shout quietly\n")


def test_two_packages_with_one_name_are_refused(packages):
    packages("one", {"etude.recipes": {"same": "a:recipe"}})
    packages("two", {"etude.recipes": {"same": "b:recipe"}})
    with pytest.raises(ConfigurationError, match=r"Two packages offer 'same'.*Uninstall one"):
        find_recipe("same")


def test_a_broken_package_does_not_hide_the_others(etude, packages):
    packages("broken", {"etude.recipes": {"broken": "no_such_module:recipe"}})
    packages("wrong", {"etude.commands": {"wrong": "math:pi"}})
    code, out, _ = etude("list")
    assert code == 0
    assert "A tiny recipe." in out
    assert "No module named 'no_such_module'" in out
    with pytest.raises(ConfigurationError, match="of wrong is a float; expected"):
        offered_command("wrong")


def test_a_configuration_that_no_longer_fits_is_named(mine, tmp_path):
    run = open_run(tmp_path / "runs/a")
    assert run.configuration() == tiny.Tiny(steps=4, repeats=1)
    file = tmp_path / "runs/a/config.yaml"
    file.write_text(file.read_text().replace("steps: 4", "stesp: 4"))
    with pytest.raises(ConfigurationError, match="stesp: unknown field; did you mean 'steps'"):
        open_run(tmp_path / "runs/a").configuration()


def test_the_working_directory_is_searched_once(mine):
    find_recipe("my_lines:mine")
    find_recipe("my_lines:mine")
    assert sys.path.count(str(Path.cwd())) == 1


def test_guests_are_installed_for_one_test(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    with_recipes(tmp_path / "guest", tiny="tiny_recipe:recipe")
    assert find_recipe("tiny").name == "tiny"


@pytest.mark.parametrize("content", [{}, {"experiment": "../../.."}], ids=["none", "too far"])
def test_a_configuration_that_does_not_name_its_experiment_is_blamed_itself(
    content, tmp_path, capsys
):
    folder = tmp_path / "a" / "b" / "run"
    Run.create(folder, {"recipe": "tiny", "configuration": {}, **content}, seed=0).close()
    assert main(["evaluate", str(folder)]) == 2
    assert f"{folder / 'config.yaml'} does not say where the exp" in capsys.readouterr().err
