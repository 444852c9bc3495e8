"""Steps per second of the small networks, as ratios."""

from statistics import median

from benchmarks import peers, problems
from benchmarks.problems import Problem
from benchmarks.rounds import WARM_EPOCHS, Row, race, ratio
from benchmarks.tables import section, table


def report(quick: bool) -> str:
    """The tables of problems (a) and (b)."""
    rounds, seconds, samples = (3, 0.05, 2_000) if quick else (5, 0.8, 10_000)
    budget = 5.0 if quick else 90.0
    return "\n".join(
        compare(problem, peers.loops(), peers.LIMIT, rounds, seconds, budget)
        for problem in (problems.a(samples), problems.b(samples))
    )


def compare(
    problem: Problem,
    contestants: list[peers.Peer],
    limit: str,
    rounds: int,
    seconds: float,
    budget: float,
) -> str:
    """One table: every peer against the limit, and ours against every peer."""
    rows, missing = race(problem, contestants, rounds, seconds, budget)
    rounds = len(rows[0].seconds_per_step)
    ours, best = rows[0], next(row for row in rows if row.name == limit)
    head = ["peer", "steps/s of the limit", "étude is faster by", f"loss, epoch {WARM_EPOCHS}"]
    body = [
        [
            row.name,
            str(ratio(best.seconds_per_step, row.seconds_per_step)),
            str(ratio(row.seconds_per_step, ours.seconds_per_step)),
            f"{row.loss:.4f}",
        ]
        for row in rows
    ]
    notes = [
        f"The limit: {limit}. Median of the ratios of {rounds} interleaved rounds (quartiles).",
        *_made_of(rows, best),
        "Compilation is left out. Every peer leaves the short last batch out.",
        *_keras(rows, ours),
        *missing,
    ]
    return section(f"({problem.name}) {problem.title}", table(head, body), notes)


def _made_of(rows: list[Row], limit: Row) -> list[str]:
    kind = [row for row in rows if row.name == peers.ARITHMETIC]
    return [
        f"The limit is made of: {1e6 * median(limit.seconds_per_step):.1f} us a step, of which "
        f"{1e6 * median(row.seconds_per_step):.1f} are arithmetic (batches in order); the rest "
        "draws and follows a permutation."
        for row in kind
    ]


def _keras(rows: list[Row], ours: Row) -> list[str]:
    kind = [row.seconds_per_step for row in rows if row.name.startswith("Keras")]
    if not kind:
        return []
    best = [min(times) for times in zip(*kind, strict=True)]
    return [f"étude against the best Keras of each round: {ratio(best, ours.seconds_per_step)}."]
