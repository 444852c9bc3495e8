"""`etude export RUN`: the files, the card whose code runs, and what is refused before any work."""

import json
import re
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import safetensors
import tiny_recipe as tiny

import etude as et
from etude.cli import export as command
from etude.export import Platform
from etude.run import Status

RUNS = ("runs/a", "runs/a/trials/tiny-1")


def first_weight(run):
    """Of the trained model, by its checkpoint."""
    return tiny.recipe.load(tiny.Tiny(steps=10, fast=True), run).layers[0].weight


def blocks(card):
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def test_both_files_and_a_card_whose_code_runs(in_finished, finished, tmp_path, monkeypatch):
    out = tmp_path / "out"
    code, printed, err = in_finished(
        "export", "runs/a", "--format", "safetensors", "stablehlo", "--out", out
    )
    assert (code, err) == (0, "")
    names = ["model.safetensors", "model.stablehlo", "model.json", "README.md"]
    assert printed.splitlines() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    card = (out / "README.md").read_text()
    results = [Status.read(place).results["test"]["error"] for place in RUNS]
    spread = f"{np.mean(results):.4f} ± {np.std(results, ddof=1):.4f}"
    assert f"| tiny | {spread} |" in card
    assert f"error {results[0]:.5g}" in card
    assert "steps: 10" in card
    assert "- trials: 2 of 2 trials are finished\n" in card
    assert "@misc{tiny" in card
    archive, deployment = blocks(card)
    monkeypatch.chdir(out)
    here: dict = {}
    exec(archive, here)
    np.testing.assert_array_equal(here["model"].layers[0].weight, first_weight(finished / RUNS[0]))
    places = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    apart = f"import sys; sys.path += {places!r}\n{deployment}\nprint(output['y'].shape)"
    done = subprocess.run([sys.executable, "-ISc", apart], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("(4,)\n", 0), done.stderr


def test_a_trial_is_exported_by_its_folder(in_finished, tmp_path):
    assert in_finished("export", "runs/a/trials/tiny-1", "--out", tmp_path / "out")[0] == 0
    with safetensors.safe_open(tmp_path / "out/model.safetensors", "np") as file:
        found, header = file.get_tensor("layers.0.weight"), file.metadata()
    np.testing.assert_array_equal(found, first_weight(Path(RUNS[1])))
    assert (header["recipe"], header["trial"]) == ("tiny", "tiny-1")
    again = et.load_export(tmp_path / "out/model.safetensors")
    np.testing.assert_array_equal(again.layers[0].weight, found)
    assert "model.stablehlo" not in (tmp_path / "out/README.md").read_text()


def test_an_export_is_replaced_as_a_whole_when_asked(in_finished, tmp_path):
    out = tmp_path / "out"
    own = "--format", "stablehlo", "--platforms", "cpu,tpu", "--out", out
    assert in_finished("export", "runs/a", *own)[0] == 0
    assert json.loads((out / "model.json").read_text())["platforms"] == ["cpu", "tpu"]
    (out / "mine.txt").write_text("kept")
    code, _, err = in_finished("export", "runs/a", "--out", out)
    assert (code, "--overwrite" in err) == (2, True)
    assert in_finished("export", "runs/a", "--out", out, "--overwrite")[0] == 0
    names = {"README.md", "mine.txt", "model.safetensors"}
    assert {path.name for path in out.iterdir()} == names


@pytest.mark.parametrize("name", ["README.md", "model.json"])
@pytest.mark.parametrize("also", [[], ["--overwrite"]])
def test_a_file_of_ones_own_is_no_export(name, also, in_finished, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    code, _, err = in_finished("export", "runs/a", "--out", tmp_path / "out", *also)
    assert (code, "is not of an export, and would be replaced" in err) == (2, True)
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_platforms_are_those_of_the_writer():
    assert get_args(command.Platform) == get_args(Platform)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "safetensor"], "did you mean 'safetensors'?"),
        (["--format"], "--format takes one or both of safetensors, stablehlo; got none."),
        (["--format", "stablehlo", "--platforms", "gpu"], "'cpu', 'cuda', 'rocm' or 'tpu'"),
        (["--platforms", "cpu"], "--platforms is for --format stablehlo"),
        (["--out", "runs/a/config.yaml"], "config.yaml is a file"),
        (["--out", "/proc/nothing"], "nothing can be written in /proc/nothing"),
    ],
    ids=["format", "none", "platform", "unused", "file", "unwritable"],
)
def test_bad_use_is_one_message_before_any_work(words, said, in_finished, monkeypatch):
    monkeypatch.setattr(tiny, "loss", None)  # nothing is measured or trained
    before = sorted(Path().rglob("*"))
    code, out, err = in_finished("export", "runs/a", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert sorted(Path().rglob("*")) == before


def test_an_unfinished_training_or_no_deployment_is_refused(in_finished, monkeypatch):
    monkeypatch.setattr(tiny, "recipe", replace(tiny.recipe, export=None))
    code, _, err = in_finished("export", "runs/a", "--format", "stablehlo")
    assert code == 2
    assert "tiny does not say what is deployed" in err
    status = Path("runs/a/status.json")
    status.write_text(status.read_text().replace('"finished"', '"interrupted"'))
    code, _, err = in_finished("export", "runs/a")
    assert code == 2
    assert "training in runs/a is interrupted" in err
    assert "go on with: etude resume runs/a" in err


def test_an_archive_of_no_recipe_says_how_to_load_it(tmp_path):
    et.save_weights({"w": np.zeros(2)}, tmp_path / "m.safetensors")
    with pytest.raises(et.ConfigurationError, match=r"et\.load_weights\(model_like, path\)"):
        et.load_export(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"recipe": "tinny"}, "There is no recipe 'tinny'. Did you mean 'tiny'?"),
        ({"trial": "tiny-5"}, "has no trial 'tiny-5'"),
        ({"configuration": "{]"}, "the configuration in its header is damaged"),
        ({"configuration": '{"stepss": 3}'}, "does not fit the recipe tiny"),
        ({"recipe": "os:system"}, "a file does not decide which code is imported"),
    ],
    ids=["recipe", "trial", "damaged", "field", "module"],
)
def test_an_archive_that_fits_no_recipe_is_refused(about, said, etude, tmp_path):
    right = {"recipe": "tiny", "trial": "tiny-0", "configuration": "{}"}
    et.save_weights({"w": np.zeros(2)}, tmp_path / "m.safetensors", about=right | about)
    with pytest.raises(et.EtudeError, match=re.escape(said)):
        et.load_export(tmp_path / "m.safetensors")
