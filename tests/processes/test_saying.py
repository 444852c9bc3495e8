"""What processes say to each other: answers, errors, differences, and what is kept of it."""

import sys
from pathlib import Path

import pytest

from etude.engine import processes
from etude.errors import ConfigurationError, EtudeError, RunError

sys.path.insert(0, str(Path(__file__).parent))
from told import Service, side_by_side


def of_each(count, work, service=None):
    """What `work(process)` gives in each process."""
    service = service or Service()
    return side_by_side(*[lambda one=one: work(one) for one in service.processes(count)])


def test_what_was_read_by_all_does_not_stay(monkeypatch):
    monkeypatch.setattr(processes, "MEETING", 10)
    service = Service()

    def train(one):
        return [one.first_says(lambda step=step: step) for step in range(200)]

    assert of_each(2, train, service) == [list(range(200))] * 2
    assert len(service.values) < 30


def test_the_first_says_what_it_alone_does():
    ran = []

    def ask(one):
        return one.first_says(lambda: ran.append(one.number) or {"steps": 3})

    assert of_each(3, ask) == [{"steps": 3}] * 3
    assert ran == [0]


def test_an_error_of_any_is_one_of_all():
    def fail(one):
        def do():
            if one.number == 1:
                raise RunError("the folder is not there")

        return one.all_do(do)

    first, second, third = of_each(3, fail)
    assert type(second) is RunError
    assert type(first) is type(third) is RunError
    assert str(first) == "Process 1: the folder is not there"


@pytest.mark.parametrize("error", [OSError("disk"), EtudeError("words")], ids=str)
def test_an_error_of_the_first_is_one_of_all(error):
    def fail():
        raise error

    first, second = of_each(2, lambda one: one.first_says(fail))
    assert first is error
    assert type(second) is EtudeError
    assert str(second) == str(error)


def test_what_differs_is_listed_in_all():
    ends = of_each(2, lambda one: one.all_agree({"seed": one.number, "rate": 0.1}))
    for end in ends:
        assert isinstance(end, ConfigurationError)
        assert "seed: process 0 has 0, process 1 has 1" in str(end)
        assert "rate" not in str(end)
