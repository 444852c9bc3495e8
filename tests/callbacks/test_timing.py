"""Each part of the time is found where it was spent: sleeps of known length are put there."""

import sys
import time

import numpy as np
import optax
import pytest
from tiny import Kill, X, Y, fit, loss, model, phase

import etude as et
from etude.callbacks import Timing

NAP = 0.02


class SlowSource:
    """Four points that take their time to be read."""

    steps_per_epoch = 5
    seeks = True

    def batches(self, entropy, epoch, position):
        for _ in range(position, self.steps_per_epoch):
            time.sleep(NAP)
            yield np.asarray(X), np.asarray(Y)

    def sequential(self):
        yield (np.asarray(X), np.asarray(Y)), 4


def test_waiting_for_data_is_told_from_making_steps():
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.05))
    one = et.Phase("slow", learner, SlowSource(), et.Steps(20))
    timing = Timing(verbose=False)
    trainer = et.Trainer(model(), one, callbacks=[timing], progress=False)
    trainer.fit()
    row = timing.summary()["slow"]
    assert row["steps"] == 20
    assert row["data"] > 10 * NAP
    assert row["steps_per_second"] < 1 / NAP


def test_data_on_the_device_wait_for_nothing_and_validations_are_counted(capsys):
    timing = Timing()
    began = time.perf_counter()
    fit([phase("one"), phase("two")], [timing])
    total = time.perf_counter() - began
    summary = timing.summary()
    assert list(summary) == ["one", "two"]
    for row in summary.values():
        assert row["steps"] == 40
        assert row["data"] == 0
        assert row["compile"] > 0
        assert row["validation"] > 0
    parts = ("step", "data", "validation", "checkpoint", "compile")
    spent = sum(row[part] for row in summary.values() for part in parts)
    assert 0.05 * total < spent <= total
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [
        "phase",
        "one",
        "two",
    ]


def test_checkpoints_count_and_a_resume_goes_on_counting(tmp_path):
    save = et.ModelCheckpoint(every=et.Steps(10))
    with pytest.raises(RuntimeError, match="killed"):
        fit(phase(), [Timing(verbose=False), save, Kill(at=37)], run=tmp_path / "run")
    timing = Timing(verbose=False)
    trainer = et.Trainer(model(), phase(), callbacks=[timing, save], progress=False)
    trainer.resume(tmp_path / "run")
    row = timing.summary()["fit"]
    assert row["steps"] == 40, "those after the checkpoint at step 30 are counted once"
    assert row["checkpoint"] > 0


def test_without_standard_error_a_training_ends_as_ever(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    assert fit(phase(steps=4, validate=4), [Timing()]).reason is et.Reason.LENGTH
    assert capsys.readouterr().out == ""
