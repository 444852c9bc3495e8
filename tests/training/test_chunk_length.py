"""How chunks grow and shrink, on a clock that the test sets."""

import pytest

from etude.training import chunk_length
from etude.training.chunk_length import TARGET, Pace


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(chunk_length, "time", clock)
    return clock


def chunks(pace, clock, count, cost):
    """Lengths of `count` chunks of which the n-th takes `cost(n, steps)` seconds."""
    found = []
    for number in range(count):
        steps = pace.steps()
        clock.now += cost(number, steps)
        pace.made(steps)
        found.append(steps)
    return found


def test_chunks_grow_to_the_target_and_no_further(clock):
    found = chunks(Pace(), clock, 8, lambda number, steps: 1e-3 * steps)
    assert found[:4] == [1, 8, 64, 500]
    assert found[-1] == round(TARGET / 1e-3)


def test_the_limit_holds(clock):
    assert chunks(Pace(limit=100), clock, 5, lambda number, steps: 1e-6 * steps)[-1] == 100


def test_a_fixed_cost_does_not_keep_chunks_short(clock):
    """Compiling, or drawing an order of a million rows, takes seconds whatever the length."""
    found = chunks(Pace(), clock, 8, lambda number, steps: 1e-4 * steps + 3.0 * (number == 0))
    assert found[-1] == 4096
    found = chunks(Pace(), clock, 9, lambda number, steps: 1e-4 * steps + 3.0 * (number % 3 == 2))
    assert min(found[5:]) == 4096


def test_steps_that_become_slower_shorten_chunks(clock):
    pace = Pace()
    chunks(pace, clock, 8, lambda number, steps: 1e-4 * steps)
    assert chunks(pace, clock, 4, lambda number, steps: 1e-2 * steps)[-1] == 50
