"""What every logger does: all numbers of the history, thinned on request, without any harm."""

import sys
import threading
import warnings

import numpy as np
import pytest
from tiny import Kill, fit, model, phase, recorded

import etude as et
from etude.callbacks import (
    CSVLogger,
    Logger,
    MLflowLogger,
    TensorBoardLogger,
    WandbLogger,
    writer,
)
from etude.callbacks.writer import Scalars, Writer


class Memory(Logger):
    """Keeps what it is told to write."""

    def __init__(self, every=1):
        super().__init__(every)
        self.seen, self.threads, self.calls = [], set(), []

    def open(self, event):
        self.calls.append("open")

    def write(self, scalars):
        self.threads.add(threading.current_thread())
        self.seen += [(step, name, v) for step, row in scalars.rows() for name, v in row.items()]

    def close(self, failed):
        self.calls.append(f"close {failed}")

    def of(self, name):
        return [(step, value) for step, found, value in self.seen if found == name]


def test_every_number_of_the_history_at_its_global_step_in_every_phase():
    logger = Memory()
    history = fit([phase("one"), phase("two", steps=30, validate=10)], [logger]).history
    for name in ("one", "two"):
        for metric in ("train/loss", "train/twice", "valid/loss"):
            expected = recorded(history, name, metric)
            assert expected
            assert logger.of(f"{name}/{metric}") == expected
    assert logger.of("two/valid/loss")[0][0] == 50, "validation is on the axis of training"
    assert logger.calls == ["open", "close False"]
    assert threading.main_thread() not in logger.threads


@pytest.mark.parametrize("every", [2, 7, 50])
def test_thinning_keeps_the_same_steps_however_chunks_fall(every):
    class EveryStep(et.Callback):
        def on_batch_end(self, event, metrics):
            pass

    alone, stepwise = Memory(every), Memory(every)
    phases = [phase("one", steps=33), phase("two", steps=20)]
    fit(phases, [alone])
    with pytest.warns(UserWarning, match="on_batch_end"):
        fit(phases, [stepwise, EveryStep()])
    steps = [step for step, _ in alone.of("one/train/loss")]
    assert steps == list(range(1, 34, every))
    assert [step for step, _ in alone.of("two/train/loss")] == list(range(34, 54, every))
    assert alone.seen
    assert sorted(alone.seen) == sorted(stepwise.seen)


@pytest.mark.parametrize("where", ["open", "write", "close"])
def test_a_failing_logger_warns_once_and_changes_nothing(where, monkeypatch):
    monkeypatch.setattr(writer, "INTERVAL", 0.001)
    logger = Memory()

    def fail(*_):
        raise OSError("No space left on device")

    setattr(logger, where, fail)
    with pytest.warns(UserWarning, match="Memory failed.*No space left") as caught:
        result = fit([phase("one"), phase("two")], [logger])
    assert len(caught) == 1
    alone = fit([phase("one"), phase("two")], [])
    assert all((result.model[k] == alone.model[k]).all() for k in alone.model)


def test_a_slow_logger_neither_stops_training_nor_fills_the_memory(monkeypatch):
    monkeypatch.setattr(writer, "WAITING", 60)
    monkeypatch.setattr(writer, "GRACE", 0.05)
    release, done, released = threading.Event(), threading.Event(), []

    class Slow(Memory):
        def open(self, event):
            released.append(release.wait(20))
            done.set()

    with pytest.warns(UserWarning, match="larger every") as caught:
        result = fit(phase(steps=200, validate=50), [Slow()])
    release.set()
    # Had the training waited for the logger, nobody would have released it in time.
    assert done.wait(20)
    assert released == [True]
    assert len(recorded(result.history, "fit", "train/loss")) == 200
    assert len(caught) == 1


def test_an_exception_closes_the_loggers_with_everything_written():
    logger = Memory()
    with pytest.raises(RuntimeError, match="killed"):
        fit(phase(), [logger, Kill(at=13)])
    assert logger.calls == ["open", "close True"]
    assert [step for step, _ in logger.of("fit/train/loss")] == list(range(1, 14))


@pytest.mark.parametrize(
    ("logger", "extra"),
    [(TensorBoardLogger(), "tensorboard"), (WandbLogger(), "wandb"), (MLflowLogger(), "mlflow")],
)
def test_a_missing_package_is_refused_before_training_with_the_extra_to_install(
    logger, extra, monkeypatch
):
    monkeypatch.delitem(sys.modules, logger.package, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(et.ConfigurationError, match=rf"pip install 'etude\[{extra}\]'"):
        et.Trainer(model(), phase(), callbacks=[logger])


def test_importing_etude_imports_no_logging_package():
    import subprocess

    code = (
        "import sys, etude.callbacks; "
        "print({'wandb', 'mlflow', 'tensorboardX', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr


def test_no_warning_where_nothing_is_wrong(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(phase(), [CSVLogger(tmp_path / "a.csv"), Memory()])
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 2 * 40 + 2 * 2


def test_a_second_training_is_warned_as_well():
    logger = Memory()
    logger.open = lambda event: 1 / 0
    trainer = et.Trainer(model(), phase(steps=4, validate=4), callbacks=[logger], progress=False)
    for _ in range(2):
        with pytest.warns(UserWarning, match="Memory failed"):
            trainer.fit()


def block(count):
    return Scalars("fit", 0, ("train/loss",), np.arange(count), np.zeros((count, 1)))


def test_what_is_left_out_is_not_counted_as_written(monkeypatch):
    monkeypatch.setattr(writer, "WAITING", 10)
    logger, hold = Memory(), threading.Event()
    logger._writer = Writer(hold.wait, logger.write, logger.close)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        for count in (20, 5):  # the first is too large by itself, and nothing waits: it is taken
            logger._offer(block(count))
    hold.set()
    logger._end(failed=False)
    assert len(logger.seen) == logger.state()["written"] == 20


def test_a_path_is_from_where_the_logger_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = [CSVLogger("m.csv").path, TensorBoardLogger("t").folder, WandbLogger(folder="w").folder]
    assert made == [tmp_path / "m.csv", tmp_path / "t", tmp_path / "w"]
