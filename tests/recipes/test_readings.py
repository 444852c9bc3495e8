"""What a configuration, a place and a prediction are read as."""

import json

import numpy as np
import pytest
from pydantic import Field, ValidationError

from etude.config import Config
from etude.experiment import root_of
from etude.predictions import NONE, class_table
from etude.run import Run


class Numbers(Config, frozen=True):
    epochs: int = 1
    rate: float | None = Field(None, gt=0)
    fast: bool = False
    either: bool | int = 2


@pytest.mark.parametrize("field", ["epochs", "rate"])
@pytest.mark.parametrize("read", [Numbers.model_validate, lambda d: Numbers(**d), None])
def test_true_is_not_the_number_one(field, read):
    read = read or (lambda data: Numbers.model_validate_json(json.dumps(data)))
    with pytest.raises(ValidationError, match=rf"{field}\n"):
        read({field: True})


def test_true_is_true_where_it_may_be():
    found = Numbers.model_validate({"fast": True, "either": True, "epochs": 3})
    assert (found.fast, found.either, found.epochs) == (True, True, 3)


def test_the_experiment_of_a_trial_that_is_the_working_directory(tmp_path, monkeypatch):
    config = {"recipe": "line", "configuration": {}, "experiment": "../.."}
    trial = tmp_path / "run" / "trials" / "one-1"
    Run.create(trial, config, seed=0).close()
    for here, name in ((trial, "."), (trial.parent, "one-1"), (tmp_path, "run/trials/one-1")):
        monkeypatch.chdir(here)
        assert root_of(type(trial)(name)).resolve() == tmp_path / "run"


def test_an_input_whose_scores_are_nan_has_no_class():
    numbers = np.array([[0.25, 0.75], [np.nan, 0.5]])
    table = class_table(("a", "b"), numbers, ("cat", "dog"))
    assert [row[1] for row in table.rows] == ["dog", NONE]
