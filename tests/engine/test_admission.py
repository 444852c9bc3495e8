"""A loss looks at its data before the training: which data it is shown, and whose error it is."""

from dataclasses import dataclass, field

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
