"""Optuna is imported when a search runs, and its absence is said with the cure."""

import subprocess
import sys

import pytest

from etude.errors import ConfigurationError
from etude.search import GridSearch, Results
from etude.search.backend import shown

LOADED = """
import sys
import etude.search, etude.systems.machinery
heavy = {"optuna", "sklearn", "matplotlib", "pandas", "sqlalchemy"}
sys.exit(" ".join(heavy & set(sys.modules)) or 0)
"""


def test_nothing_heavy_is_imported_before_a_search_runs():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_search_without_optuna_is_refused_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    search = GridSearch(target=abs, space={"x": [1, 2]}, mode="min", folder=tmp_path / "s")
    with pytest.raises(ConfigurationError, match=r"pip install 'etude\[search\]'"):
        search.run()
    assert not (tmp_path / "s").exists()


def test_an_old_optuna_is_refused(monkeypatch):
    import optuna

    monkeypatch.setattr(optuna, "__version__", "4.6.0")
    with pytest.raises(ConfigurationError, match=r"Optuna 5 or newer; got 4\.6\.0"):
        GridSearch(target=abs, space={"x": [1, 2]}, mode="min").run()


def test_tables_need_pandas_and_columns_do_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    search = GridSearch(target=lambda x: x, space={"x": [1, 2]}, mode="min")
    results = search.run(say=lambda line: None)
    with pytest.raises(ConfigurationError, match="pip install pandas"):
        results.to_pandas()
    assert results.columns["value"] == [1.0, 2.0]


def test_a_password_is_not_kept(tmp_path):
    assert shown("postgresql://me:s3cret@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert shown("postgresql://me@host/db") == "postgresql://me@host/db"
    search = GridSearch(target=lambda x: x, space={"x": [1, 2]}, mode="min", folder=tmp_path / "s")
    search.run(say=lambda line: None)
    record = tmp_path / "s/search.yaml"
    record.write_text(record.read_text().replace("storage: null", "storage: x://me:***@host/db"))
    with pytest.raises(ConfigurationError, match="has a password, which is not kept"):
        Results.open(tmp_path / "s")
