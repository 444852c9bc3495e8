"""The tiny recipe as an installed package offers it, and a folder to work in."""

import contextlib
import io
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_recipe as tiny

from etude.cli.main import main


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with two finished experiments: `runs/a` of two trials, `runs/b` of one."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(sys, "path", [*sys.path])
        tiny.install(tmp_path_factory.mktemp("packages"))
        patch.chdir(folder)
        assert main(["train", "tiny", "--steps", "10", "--fast", "--run", "runs/a"]) == 0
        one = ["--fast", "--repeats", "1", "--optimizer.lr", "0.1", "--run", "runs/b"]
        assert main(["train", "tiny", "--steps", "10", *one]) == 0
    return folder


@pytest.fixture
def in_finished(etude, finished, tmp_path):
    """The command, in a copy of that folder."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return etude


@pytest.fixture
def etude(monkeypatch, tmp_path, tmp_path_factory, capsys):
    """Runs a command in an empty folder: `(exit code, standard output, standard error)`."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    tiny.install(tmp_path_factory.mktemp("packages"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
