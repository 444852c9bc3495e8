"""Another search on the same folder, and a folder that is damaged, are refused by name."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from little_recipe import recipe
from sklearn.datasets import load_iris
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from etude.cli.main import main
from etude.errors import DataError, RunError
from etude.search import CrossValidation, GridSearch, RandomSearch, Range, Results


def silent(line):
    pass


def identity(x):
    return float(x)


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        (Range(-5.0, 5.0), Range(-5, 5), "space.x.low: got -5, recorded -5.0"),
        ([1, 2], [True, 2], "space.x: got [True, 2], recorded [1, 2]"),
        ([1, 2], Range(1, 2), "space.x: got {'low': 1, 'high': 2}, recorded [1, 2]"),
        (Range(1, 8), Range(1, 8, step=2), "space.x.step: got 2, recorded nothing"),
    ],
    ids=["float", "bool", "kind", "step"],
)
def test_a_space_of_other_types_is_another_space(first, then, told, tmp_path):
    def searched(x):
        space = {"x": x, "same": ["a", "b"]}
        target = lambda x, same: float(x)  # noqa: E731
        search = RandomSearch(target=target, space=space, mode="min", folder=tmp_path / "s")
        return search.run(2, say=silent)

    searched(first)
    with pytest.raises(RunError, match=re.escape(told)) as refused:
        searched(then)
    assert "same" not in str(refused.value), "what does not differ is not shown"
    assert len(searched(first).trials) == 2


def test_a_search_that_cannot_begin_leaves_nothing(tmp_path):
    def trials(config):
        raise DataError("the data are away")

    away = replace(recipe, trials=trials)
    search = GridSearch(target=away, space={"rate": [0.1, 0.2]}, folder=tmp_path / "s")
    with pytest.raises(DataError, match="away"):
        search.run(say=silent)
    assert not (tmp_path / "s").exists()


def test_scores_of_other_samples_are_no_part_of_a_search(tmp_path):
    x, y = load_iris(return_X_y=True)

    def searched(x, y, cv):
        target = CrossValidation(SVC(), x, y, cv=cv, scoring=lambda one, x, y: one.score(x, y))
        return GridSearch(target=target, space={"C": [0.1, 1.0]}, folder=tmp_path / "s").run(
            say=silent
        )

    drawn = StratifiedKFold(3, shuffle=True, random_state=np.random.RandomState(1))
    searched(x, y, drawn)
    drawn = StratifiedKFold(3, shuffle=True, random_state=np.random.RandomState(1))
    assert len(searched(x.copy(), y.copy(), drawn).trials) == 2
    for other in ((x[:, :1], y, drawn), (x, y[::-1], drawn)):
        with pytest.raises(RunError, match="samples: got "):
            searched(*other)
    drawn = StratifiedKFold(3, shuffle=True, random_state=np.random.RandomState(2))
    with pytest.raises(RunError, match="samples: got "):
        searched(x, y, drawn)


def cut(text, part):
    return text[: text.index(part) + len(part)]


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("journal.log", lambda t: t.replace("\n", "\nrubbish\n", 1), r"line 2 is no entry.*rubb"),
        ("journal.log", lambda t: t.replace("\n", "\n{}\n", 1), "line 2 is no entry of a journal"),
        ("journal.log", lambda t: t.replace("\n", "\n[1]\n", 1), "line 2 is no entry of a journal"),
        (
            "journal.log",
            lambda t: t + '{"op_code": 4, "worker_id": "a"}\n',
            "a line says what cannot",
        ),
        ("search.yaml", lambda t: "a: 1\n", "it has no metric, mode"),
        ("search.yaml", lambda t: "- 1\n", "it holds no names"),
        ("search.yaml", lambda t: cut(t, "mode"), "search.yaml is damaged"),
        ("search.yaml", lambda t: cut(t, "storage: null\n"), "it has no space, study"),
        ("search.yaml", lambda t: t.replace("mode: min", "mode: up"), "mode is 'up'"),
        ("search.yaml", lambda t: t.replace("- 1\n", ""), "search.yaml"),
        (
            "search.yaml",
            lambda t: t.replace("  - 1\n", "  - 3\n"),
            "has x 1, expected one of|space.x",
        ),
        (
            "search.yaml",
            lambda t: t.replace("space:", "space:\n  y: [1, 2]"),
            "varies x, expected y|space.y",
        ),
        ("search.yaml", lambda t: cut(t, "study: ") + "s-1\n", "names 's-1'|does not hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_search_is_named(name, damage, told, tmp_path, capsys):
    def of():
        return GridSearch(target=identity, space={"x": [1, 2]}, mode="min", folder=tmp_path / "s")

    of().run(say=silent)
    file = Path(tmp_path / "s" / name)
    file.write_text(damage(file.read_text()))
    for attempt in (lambda: of().run(say=silent), lambda: Results.open(tmp_path / "s")):
        with pytest.raises(RunError, match=told) as refused:
            attempt()
        assert str(tmp_path / "s") in str(refused.value)
    assert main(["report", str(tmp_path / "s")]) == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "s") in err
    assert "Traceback" not in err
