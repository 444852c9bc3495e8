"""The tiny recipe as an installed package offers it, and a folder to work in."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_recipe as tiny

from etude.cli.main import main


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
