"""One worker of a search: it takes a trial, evaluates it, writes down the outcome, and so on."""

import contextlib
import math
import signal
import traceback
from collections.abc import Callable, Generator

from etude.compilations import shared_compilations
from etude.errors import (
    CheckpointError,
    LockedError,
    NonFiniteError,
    RunError,
    RunLostError,
)
from etude.run.whole_file import write_whole
from etude.search.ledger import Ledger, Taken
from etude.search.plan import Plan
from etude.search.record import BEST
from etude.search.results import Results, best_as_yaml, results_of
from etude.search.targets import Pruned, Training
from etude.training.signals import NUMBERS

#: What a trial cannot be blamed for: it is left for later, and the search ends.
OUTSIDE = (OSError, RunLostError, CheckpointError, LockedError, RunError)

Say = Callable[[str], None]


class Teller:
    """Says of each trial, once, what came of it."""

    def __init__(self, plan: Plan, ledger: Ledger, trials: int | None, say: Say):
        self.plan, self.ledger, self.trials, self.say = plan, ledger, trials, say
        self.told = {found.number for found in self.results().trials if found.state != "running"}
        if self.told:
            say(f"Going on: {self.results().stands}.")

    def results(self) -> Results:
        """The trials so far."""
        plan = self.plan
        found = self.ledger.trials()
        return results_of(found, plan.space, plan.target.metric, plan.mode, plan.folder)

    def tell(self) -> bool:
        """Says what is new; whether anything is."""
        results, before = self.results(), len(self.told)
        done = [found for found in results.trials if found.state != "running"]
        of = "" if self.trials is None else f"/{self.trials}"
        for found in done:
            if found.number in self.told:
                continue
            self.told.add(found.number)
            setting = ", ".join(f"{name} {_short(v)}" for name, v in found.setting.items())
            same = "" if found.same_as is None else f" (as trial {found.same_as})"
            why = f": {found.why}" if found.state in ("diverged", "failed") else ""
            told = f"{results.metric} {found.shown}" if found.value is not None else found.state
            self.say(f"[{len(self.told)}{of}] trial {found.number}: {told}{same}{why}  {setting}")
        return len(self.told) > before


def work(plan: Plan, ledger: Ledger, trials: int | None, done: Callable[[], object]) -> None:
    """Works until there are `trials` trials, or no setting is left; `done` is told of each.

    An interruption leaves the trial for later, and goes through. Raises `ConfigurationError` if
    all trials fail, and what has nothing to do with a trial, as a full disk.
    """
    with ledger, shared_compilations():
        done()
        while (taken := ledger.take(plan.propose, trials)) is not None:
            with ledger.alive(taken):
                evaluate(plan, ledger, taken)
            write_best(plan, ledger)
            done()


def evaluate(plan: Plan, ledger: Ledger, taken: Taken) -> None:
    """Evaluates a trial, and writes down what came of it."""

    def report(step: int, value: float) -> bool:
        return ledger.report(taken.number, step, value)

    setting, place = plan.full(taken.setting), plan.place(taken.number)
    try:
        values = list(plan.target.evaluate(setting, place, report))
    except Pruned as error:
        ledger.ended(taken, "pruned", str(error))
    except NonFiniteError as error:
        ledger.ended(taken, "diverged", _line(error))
    except (KeyboardInterrupt, *OUTSIDE):
        with undisturbed():
            ledger.released(taken)
        raise
    except Exception as error:
        _keep_traceback(plan, taken, error)
        ledger.ended(taken, "failed", f"{type(error).__name__}: {_line(error)}")
    else:
        if all(map(math.isfinite, values)):
            ledger.done(taken, values)
        else:
            ledger.ended(taken, "diverged", f"{plan.target.metric} is {_numbers(values)}")


@contextlib.contextmanager
def undisturbed() -> Generator[None, None, None]:
    """Within, signals that ask for an end wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write_best(plan: Plan, ledger: Ledger) -> None:
    """Writes the best configuration so far, if there is one and a folder for it."""
    if plan.folder is None:
        return
    with ledger.alone():  # else one who has read fewer trials could write last
        found = ledger.trials()
        results = results_of(found, plan.space, plan.target.metric, plan.mode, plan.folder)
        if not results.has_best:
            return
        setting = plan.full(dict(results.best.setting))
        if isinstance(plan.target, Training):
            setting = plan.target.configuration(setting).model_dump(mode="json")
        write_whole(plan.folder / BEST, best_as_yaml(results, setting).encode())


def _keep_traceback(plan: Plan, taken: Taken, error: Exception) -> None:
    if plan.folder is not None:
        (plan.folder / "errors").mkdir(exist_ok=True)
        file = plan.folder / "errors" / f"{taken.number:04d}.txt"
        file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")


def _line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).splitlines() or ["no message"])[0][:300]


def _numbers(values: list[float]) -> str:
    return str(values[0] if len(values) == 1 else values)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
