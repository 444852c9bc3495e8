"""The package of the page "Your own system", installed by pip in an environment of its own."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import etude

PAGE = Path(__file__).parents[2] / "docs/guide/your_own_system.md"
FILE = re.compile(r'^```\w+ title="(.+?)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
#: Where this Étude and what it depends on are: an environment of its own need not fetch them.
SOURCE, PACKAGES = Path(etude.__file__).parents[1], sysconfig.get_paths()["purelib"]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder of the page."""
    folder = tmp_path_factory.mktemp("own") / "filters"
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(python, *arguments, folder):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [python, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_it_is_installed_trained_and_used_from_the_command_line(package, tmp_path):
    venv.create(tmp_path / "fresh", with_pip=False, symlinks=True)
    python = str(tmp_path / "fresh/bin/python")
    ours = Path(subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip())  # fmt: skip
    (ours / "borrowed.pth").write_text(f"{SOURCE}\n{PACKAGES}\n")
    command = ("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", str(package))
    done = run(sys.executable, "pip", "--python", python, *command[1:], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(ours.glob("filters-1.0.dist-info"))
    etude_command = (python, "etude.cli.main")
    listed = run(*etude_command, "list", folder=tmp_path)
    assert "filters/identify" in listed.stdout, listed.stderr
    options = ("--taps", "3", "--rate", "0.05", "--repeats", "1")
    done = run(*etude_command, "train", "filters/identify", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1].split()[-1]) == pytest.approx(0.01, rel=0.3)
    used = run(*etude_command, "predict", "runs/filters/identify", "1", folder=tmp_path)
    taps = [float(cell) for cell in used.stdout.splitlines()[-1].split()[1:]]
    assert taps == pytest.approx([1, 0.435, -0.111], abs=0.03)
    refused = run(*etude_command, "predict", "runs/filters/identify", "high", folder=tmp_path)
    assert refused.returncode == 1
    assert "HEIGHT is a number, such as 0.5; got 'high'." in refused.stderr
    assert "Traceback" not in refused.stderr


def test_it_is_trained_from_its_folder_by_the_name_of_its_module(package):
    name = "filters.recipe:identify"
    options = ("--steps", "20", "--repeats", "1", "--run", "runs/mine")
    place = os.environ | {"PYTHONPATH": str(SOURCE)}
    for line in (("train", name, *options), ("resume", "runs/mine", "--recipe", name)):
        done = subprocess.run(
            [sys.executable, "-m", "etude.cli.main", *line],
            cwd=package, env=place, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
