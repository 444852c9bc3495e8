"""What a trainer is told beside its phases: refused where it would be ignored."""

import json

import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import etude as et
from etude.run import Run

DATA = np.arange(8, dtype=np.float32)


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def loss(w, batch, context):
    return jnp.mean((w - batch) ** 2)


def trainer(**options):
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    phase = et.Phase("fit", learner, et.ArrayData(DATA, 4), et.Steps(2))
    return et.Trainer(jnp.zeros(()), phase, **{"progress": False, **options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 0.5}, "seed is a whole number below 2.*got 0.5"),
        ({"seed": "3"}, "got '3'"),
        ({"seed": True}, "got True"),
        ({"seed": None}, "got None"),
        ({"seed": 2**63}, "got 9223372036854775808"),
        ({"executor": "lop"}, "executor is 'loop' or 'dispatch' or None; got 'lop'.*'loop'"),
        ({"on_full_disk": "go"}, "on_full_disk is 'stop' or 'continue'; got 'go'"),
        ({"overwrite": "no"}, "overwrite is True or False; got 'no'"),
        ({"progress": "no"}, "progress is True or False; got 'no'"),
        ({"nonfinite": None}, "policy is .* got None"),
    ],
    ids=str,
)
def test_what_would_be_ignored_is_refused(options, said):
    with pytest.raises(et.ConfigurationError, match=said):
        trainer(**options)


@pytest.mark.parametrize("retries", [-1, 1.5, float("nan"), True], ids=str)
def test_retries_are_counted(retries):
    with pytest.raises(et.ConfigurationError, match="retries is a whole number from 0"):
        et.NonFinite("skip", retries=retries)


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (lambda n: et.ArrayData(DATA, n), et.Epochs),
        (lambda n: et.ArrayData(DATA, n, shards=n), et.Steps),
        (lambda n: et.AccessData(DATA, n, shuffle=et.Blocks(n, window=n)), et.Epochs),
        (lambda n: et.StreamData([DATA] * 2, steps_per_epoch=n), et.Steps),
        (lambda n: et.Turns({"a": et.ArrayData(DATA, 4)}, weights={"a": n}), et.Epochs),
    ],
    ids=["array", "rows", "blocks", "stream", "turns"],
)
def test_a_count_of_numpy_is_a_count(data, length, tmp_path):
    def summed(w, batch, context):
        return jnp.mean((w - (batch["a"] if isinstance(batch, dict) else batch)) ** 2)

    learner = et.Learner(et.Gradient(summed), optax.sgd(0.1))
    models = []
    for kind in (int, np.int64):
        phase = et.Phase("fit", learner, data(kind(2)), length(kind(1)))
        folder = tmp_path / kind.__name__
        made = et.Trainer(jnp.zeros(()), phase, run=folder, seed=kind(1), progress=False).fit()
        models.append(float(made.model))
        with Run.open(folder, lock=False) as run:
            json.dumps(run.checkpoints.restore().meta)
    assert models[0] == models[1]


def test_a_mesh_takes_a_count_of_numpy():
    assert et.mesh(data=np.int64(2)).shape["data"] == 2
