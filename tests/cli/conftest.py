"""The tiny recipe in the catalogue, and a folder to work in."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_recipe as tiny

from etude.cli import catalogue
from etude.cli.main import main


@pytest.fixture
def etude(monkeypatch, tmp_path, capsys):
    """Runs a command in an empty folder: `(exit code, standard output, standard error)`."""
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", tiny.ENTRY)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
