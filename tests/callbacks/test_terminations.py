"""Every termination fires the hooks that the table in docs/callbacks.md says, balanced."""

import os
import re
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st

import etude as et
from etude.engine import randomness

TABLE = Path(__file__).parents[2] / "docs" / "callbacks.md"
pytestmark = pytest.mark.usefixtures("listening")
HOOKS = [name for name in vars(et.Callback) if name.startswith("on_")]
DATA = np.arange(12, dtype=np.float32)


class Recorder(et.Callback):
    """Writes down every call; does something at the n-th call of one hook."""

    def __init__(self, hook="", count=0, action=None):
        self.calls = []
        self.hook, self.left, self.action = hook, count, action

    def _record(self, hook, event, *arguments):
        detail = ""
        if hook == "on_phase_end":
            detail = arguments[0].name
        if hook == "on_exception":
            detail = type(arguments[0]).__name__
        if hook == "on_time":  # beside the others, at no moment of its own
            return None
        self.calls.append((hook, event.phase, event.step, detail))
        if hook == self.hook:
            self.left -= 1
            if self.left == 0:
                return self.action()
        return None


def _recording(hook):
    return lambda self, event, *arguments: self._record(hook, event, *arguments)


for _hook in HOOKS:
    if not _hook.startswith("on_batch"):
        setattr(Recorder, _hook, _recording(_hook))


class Broken:
    """Host data that fail before the first boundary."""

    seeks = True

    steps_per_epoch = 4

    def batches(self, entropy, epoch, position):
        for start in range(3 * position, 12, 3):
            if start == 6:
                raise ConnectionError("the disk is gone")
            yield DATA[start : start + 3]

    def sequential(self):
        yield jnp.asarray(DATA), 12


def kill(number):
    return lambda: os.kill(os.getpid(), number)


def run(folder, recorder, *, fault=None, nonfinite="stop", broken=False, callbacks=(), **options):
    """Twelve steps in three epochs, validated every five; NaN at step `fault`, the first time."""
    first = []

    def loss(model, batch, context):
        value = jnp.mean((model - batch) ** 2)
        if fault is None:
            return value
        key = randomness.learner_key(randomness.phase_key(0, "fit", 0), jnp.int32(fault - 1), 0)
        same = jax.random.uniform(key) == jax.random.uniform(context.key)
        bad = (context.step == fault - 1) & (same | bool(first))
        return jnp.where(bad, jnp.nan, value)

    if options.pop("always", False):
        first.append(True)
    source = Broken() if broken else et.ArrayData(DATA, 3)
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(loss), optax.sgd(0.01)),
        source,
        et.Steps(options.pop("steps", 12)),
        et.Validation(et.ArrayData(DATA, 12), lambda m, b, c: {"score": m}, et.Steps(5)),
        **options,
    )
    listed = [et.ModelCheckpoint(et.Steps(4)), *callbacks, recorder]
    trainer = et.Trainer(
        jnp.zeros(()), phase, run=folder, callbacks=listed, progress=False, nonfinite=nonfinite
    )
    return trainer.fit()


def stop():
    return et.Stop()


TERMINATIONS = {
    "length": {},
    "goal": {"goal": et.AtLeast("valid/score", 0.01)},
    "patience": {"callbacks": [et.EarlyStopping("valid/score", 1, "min")], "steps": 40},
    "time limit": {"limit": et.Seconds(3), "steps": 10**8},
    "callback stop": {"recorder": Recorder("on_epoch_end", 1, stop)},
    "NaN, stop": {"fault": 7},
    "NaN, skip": {"fault": 7, "nonfinite": "skip"},
    "NaN, rollback": {"fault": 7, "nonfinite": "rollback"},
    "NaN, rollbacks used up": {
        "fault": 7, "nonfinite": et.NonFinite("rollback", retries=1), "always": True,
    },
    "exception in a callback": {"recorder": Recorder("on_epoch_end", 2, lambda: 1 / 0)},
    "exception in the data": {"broken": True},
    "SIGTERM": {"recorder": Recorder("on_epoch_end", 2, kill(signal.SIGTERM))},
    "SIGHUP": {"recorder": Recorder("on_epoch_end", 2, kill(signal.SIGHUP))},
    "Ctrl-C": {"recorder": Recorder("on_epoch_end", 2, kill(signal.SIGINT))},
}  # fmt: skip


def documented():
    """The rows of the table: termination -> its cells."""
    text = TABLE.read_text().split("## Which hooks fire")[1].split("\n## ")[0]
    rows = [line.strip("| \n").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows[2:]}


def names(cell):
    return re.findall(r"`(\w+)`", cell)


def balanced(calls):
    """Phases and the training end as they began; on_exception is the last, and the only one."""
    assert calls[0][0] == "on_train_begin"
    hooks = [call[0] for call in calls]
    assert (hooks[-1] == "on_train_end") != (hooks[-1] == "on_exception")
    assert hooks.count("on_train_end") + hooks.count("on_exception") == 1
    opened, epochs = [], []
    for hook, phase, step, _ in calls:
        if hook == "on_phase_begin":
            opened.append(phase)
        elif hook == "on_phase_end":
            assert opened.pop() == phase
        elif hook == "on_epoch_begin":
            epochs.append(step)
        elif hook == "on_epoch_end":
            assert epochs
            assert step % 4 == 0
    if hooks[-1] == "on_train_end":
        assert not opened


def test_the_table_lists_exactly_the_terminations_that_are_tested():
    assert list(documented()) == list(TERMINATIONS)


@pytest.mark.parametrize("name", TERMINATIONS)
def test_hooks_of_a_termination(name, tmp_path):
    options = dict(TERMINATIONS[name])
    recorder = options.pop("recorder", None) or Recorder()
    validated, phase_end, saved, train_end, exception = documented()[name]
    error = None
    try:
        result = run(tmp_path / "run", recorder, **options)
    except (Exception, KeyboardInterrupt) as raised:
        error = raised
    calls = recorder.calls
    balanced(calls)
    ends = [detail for hook, *_, detail in calls if hook == "on_phase_end"]
    assert ends == names(phase_end)
    last = calls[-1][2]
    hooks_at_end = [hook for hook, _, step, _ in calls if step == last]
    assert ("on_validation_end" in hooks_at_end) == (validated == "yes")
    assert ("on_checkpoint" in hooks_at_end) == (saved == "yes")
    assert (calls[-1][0] == "on_train_end") == (train_end == "yes")
    assert ([type(error).__name__] if error else []) == names(exception)
    if error is None:
        assert result.reason.name == ends[-1]
        assert result.reasons == (("fit", result.reason),)
    elif saved == "yes":
        assert any((tmp_path / "run" / "checkpoints").glob(f"{last:09d}-fit/manifest.json"))


def test_the_order_at_a_boundary(tmp_path):
    recorder = Recorder()
    run(tmp_path / "run", recorder, steps=20)
    at_20 = [hook for hook, _, step, _ in recorder.calls if step == 20]
    assert at_20 == [
        "on_steps_end", "on_epoch_end", "on_validation_end", "on_checkpoint", "on_phase_end",
        "on_checkpoint", "on_train_end",
    ]  # fmt: skip
    epochs = [(hook, step) for hook, _, step, _ in recorder.calls if "epoch" in hook]
    assert epochs == [
        pair
        for end in (4, 8, 12, 16, 20)
        for pair in (("on_epoch_begin", end - 4), ("on_epoch_end", end))
    ]


class Machine(et.Callback):
    """Random requests and exceptions, the same for the same numbers."""

    def __init__(self, script):
        self.script = script
        self.at = 0

    def _next(self, *_):
        what = self.script.get(self.at)
        self.at += 1
        return {"stop": stop, "save": et.Save, "raise": lambda: 1 / 0, None: lambda: None,
                "term": kill(signal.SIGTERM), "int": kill(signal.SIGINT)}[what]()  # fmt: skip

    on_train_begin = on_phase_begin = on_epoch_begin = on_steps_end = on_epoch_end = _next
    on_validation_end = on_checkpoint = on_phase_end = on_train_end = _next


@settings(max_examples=12)
@given(
    st.dictionaries(
        st.integers(0, 30), st.sampled_from(["stop", "save", "raise", "term", "int"]), max_size=3
    )
)
def test_any_requests_at_any_hooks_leave_everything_balanced(script):
    # The recorder comes after the machine: it sees no call in which the machine raised.
    recorder, allowed = Recorder(), {"term", "int"} & set(script.values())
    try:
        run(None, recorder, callbacks=[Machine(script)])
    except ZeroDivisionError:
        assert "raise" in script.values()
    except et.ConfigurationError:  # a request at the end of a phase or of the training
        assert {"stop", "save"} & set(script.values())
    except KeyboardInterrupt:
        assert allowed
    if script.get(0) == "raise":
        assert [call[0] for call in recorder.calls] == ["on_exception"]
    else:
        balanced(recorder.calls)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
