"""A loss looks at its data before the training: which data it is shown, and whose error it is."""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et

X = np.arange(6, dtype=np.float32)


@dataclass(frozen=True)
class Watching:
    """A loss that remembers what it was shown, and refuses 100."""

    seen: list = field(default_factory=list)

    def __call__(self, model, batch, context):
        return (model["a"] - batch["x"].mean()) ** 2

    def other(self, model, batch, context):
        return (model["b"] - batch["x"].mean()) ** 2

    def check_data(self, model, batch):
        assert set(model) == {"a", "b"}
        assert isinstance(batch["x"], np.ndarray)
        self.seen.append(batch["x"].tolist())
        if batch["x"].max() >= 100:
            raise et.DataError("Watching: 100 is too much.")


def bind(data, rules, validation=(), **options):
    learners = [
        et.Learner(rule, optax.sgd(0.1), where=lambda m, n=name: m[n], name=name)
        for name, rule in rules.items()
    ]
    model = {"a": jnp.zeros(()), "b": jnp.zeros(())}
    augment = options.pop("augment", None)
    phase = et.Phase("fit", learners, data, et.Steps(1), validation, augment=augment)
    return et.Trainer(model, phase, progress=False, **options)


def stream(epoch):
    for start in (0, 2):
        yield {"x": X[start : start + 2]}


def arrays(x=X):
    return et.ArrayData({"x": x}, 2)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (arrays, [X.tolist()]),
        (lambda: et.AccessData([{"x": x} for x in X], 2), [[0.0, 1.0]]),
        (lambda: et.StreamData(stream, 2), []),
    ],
    ids=["arrays", "access", "stream"],
)
def test_a_loss_is_shown_all_of_arrays_and_a_batch_of_what_can_be_read_again(data, wanted):
    loss = Watching()
    bind(data(), {"a": et.Gradient(loss)})
    assert loss.seen == wanted


def test_validations_show_their_data_and_an_augmented_phase_only_these():
    loss, validation = Watching(), et.Validation(arrays(X + 1))
    bind(arrays(), {"a": et.Gradient(loss)}, validation)
    assert loss.seen == [X.tolist(), (X + 1).tolist()]
    loss = Watching()
    bind(arrays(), {"a": et.Gradient(loss)}, validation, augment=lambda batch, key: batch)
    assert loss.seen == [(X + 1).tolist()]


def test_the_object_of_two_methods_is_asked_once_and_a_rule_too():
    loss = Watching()
    bind(arrays(), {"a": et.Gradient(loss.__call__), "b": et.Gradient(loss.other)})
    assert loss.seen == [X.tolist()]

    class Rule(Watching):
        def __call__(self, trainable, rest, batch, context):
            return et.Proposal(trainable, {})

    rule = Rule()
    bind(arrays(), {"a": rule})
    assert rule.seen == [X.tolist()]


def test_what_a_loss_refuses_is_an_error_of_the_data_before_there_is_a_run(tmp_path):
    with pytest.raises(et.DataError, match="Phase 'fit': Watching: 100 is too much") as caught:
        bind(arrays(X + 95), {"a": et.Gradient(Watching())}, run=tmp_path / "run")
    assert isinstance(caught.value, et.ConfigurationError)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("combined", "wanted"),
    [
        (et.Together, [{"a": {"x": [0.0, 1.0]}, "b": {"x": [4.0, 5.0]}}]),
        (et.Turns, [{"a": {"x": [0.0, 1.0]}}, {"b": {"x": [4.0, 5.0]}}]),
    ],
    ids=["together", "turns"],
)
@pytest.mark.parametrize("where", ["device", "host"])
def test_of_several_sources_a_batch_of_each_kind_is_shown(combined, wanted, where):
    def source(x):
        return arrays(x) if where == "device" else et.AccessData([{"x": one} for one in x], 2)

    class Both:
        def __init__(self):
            self.seen = []

        def __call__(self, model, batch, context):
            return sum(model.values()) ** 2

        def check_data(self, model, batch):
            self.seen.append(jax.tree.map(np.ndarray.tolist, batch))

    loss = Both()
    bind(combined({"a": source(X), "b": source(X + 4)}), {"a": et.Gradient(loss)})
    assert loss.seen == wanted


def test_the_loss_of_a_partial_function_is_asked():
    loss = Watching()
    bind(arrays(), {"a": et.Gradient(partial(loss))})
    assert loss.seen == [X.tolist()]


def test_an_error_says_which_validation_and_which_method():
    validation = et.Validation(arrays(X + 95), name="later")
    with pytest.raises(et.DataError, match="Phase 'fit': validation 'later': Watching: 100"):
        bind(arrays(), {"a": et.Gradient(Watching())}, validation)

    class Odd(Watching):
        answer = False

        def check_data(self, model, batch):
            return self.answer if self.answer is not None else batch["labels"]

    with pytest.raises(et.ConfigurationError, match=r"Odd: check_data raises DataError.*False"):
        bind(arrays(), {"a": et.Gradient(Odd())})
    Odd.answer = None
    with pytest.raises(KeyError) as caught:
        bind(arrays(), {"a": et.Gradient(Odd())})
    assert "check_data of Odd, on the batch" in caught.value.__notes__[0]
    Odd.check_data = True
    with pytest.raises(et.ConfigurationError, match=r"check_data is a method.*got True"):
        bind(arrays(), {"a": et.Gradient(Odd())})
