"""A member of a population as a run of its own."""

import jax
import pytest
from crowd import equal, init, phase, trainer
from test_endings import VARY, stopping

import etude as et
from etude.run import History, Run


def phases(**hyper):
    short = {"steps": 3, "validation": None}
    return [phase(hyper=hyper), phase(name="on", hyper=hyper, **short)]


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """A population whose first member loses patience in the first phase, and two of its runs."""
    folder = tmp_path_factory.mktemp("handed")
    train = trainer(phases(), VARY, run=folder / "all", callbacks=[stopping()])
    result = train.fit()
    finished = train.finished_population()
    lone = []
    for number in (0, 1):
        hyper, seed = {"rate": VARY["rate"][number]}, VARY["seed"][number]
        own = et.Trainer(
            init(jax.random.key(seed)), phases(**hyper), seed=seed, progress=False,
            callbacks=[stopping()], run=folder / str(number),
        )  # fmt: skip
        with Run.create(folder / str(number), {}, seed) as run:
            finished.hand_out(number, own.settings.anew(), run)
        lone.append(own)
    return result, lone


@pytest.mark.parametrize(("number", "reason"), [(0, "PATIENCE"), (1, "LENGTH")])
def test_its_reasons_are_its_own(handed_out, number, reason):
    result, lone = handed_out
    ends = [e for e in History.open(lone[number].folder).events if e["event"] == "phase_end"]
    assert [(one["phase"], one["reason"]) for one in ends] == [("fit", reason), ("on", "LENGTH")]
    assert ("detail" in ends[0]) == (number == 0)
    again = lone[number].resume()
    assert again.reasons == (("fit", et.Reason[reason]), ("on", et.Reason.LENGTH))
    equal(again.model, result.member(number))
