"""Steps per second of a convolutional network against the hand-written loop, as ratios."""

from benchmarks import peers, problems
from benchmarks.loops import compare


def report(quick: bool) -> str:
    """The table of problem (c)."""
    problem = problems.convolutional("c", steps=2, length=512) if quick else problems.c()
    contestants = peers.convolutions()
    limit = contestants[1].name
    return compare(problem, contestants, limit, 3 if quick else 11, 0.0, budget=60.0)
