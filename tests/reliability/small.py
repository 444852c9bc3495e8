"""Two numbers that learn the mean of some data: compiled at once, computed by hand as easily."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from drill import HostData

import etude as et
from etude.engine import randomness

RATE = 0.1
DATA = np.random.default_rng(1).normal(size=(12,)).astype(np.float32)
STEPS = 20


def model() -> dict[str, jax.Array]:
    return {"a": jnp.array(2.0), "b": jnp.array(-1.0)}


def rule(name: str, fault: Any = None, noise: float = 0.0, hidden: bool = False) -> et.Gradient:
    """Squared distance; not finite where `fault(context)`, in the gradient only if `hidden`."""

    def loss(model, batch, context):
        value = jnp.mean((model[name] - batch[0]) ** 2)
        value += noise * model[name] * jax.random.normal(context.key)
        if fault is None:
            return value
        bad = fault(context)
        if hidden:  # the root has no derivative at 0
            return value + jnp.sqrt(jnp.where(bad, 0.0 * model[name], 1.0))
        return jnp.where(bad, jnp.nan, value)

    return et.Gradient(loss)


def learner(name: str, repeat: int = 1, **options: Any) -> et.Learner:
    """Trains one of the numbers."""

    def where(model: Any) -> Any:
        return model[name]

    return et.Learner(rule(name, **options), optax.sgd(RATE), where, name, repeat)


def data(kind: str = "loop") -> Any:
    """Four batches of three, in their order unless read on the host."""
    if kind == "hosted":
        return HostData((DATA,), 3)
    return et.ArrayData((jnp.asarray(DATA),), 3, shuffle=False)


def phase(
    *learners: et.Learner, name: str = "fit", kind: str = "loop", steps: int = STEPS, **options: Any
) -> et.Phase:
    return et.Phase(name, learners or (learner("a"),), data(kind), et.Steps(steps), **options)


def trainer(*phases: et.Phase, kind: str = "loop", **options: Any) -> et.Trainer:
    executor = None if kind == "hosted" else kind
    return et.Trainer(model(), phases, progress=False, executor=executor, **options)


def only_first_attempt(step: int, name: str = "fit", learner: int = 0):
    """True at one step with the random numbers that it has before any roll-back."""
    key = randomness.learner_key(randomness.phase_key(0, name, 0), jnp.int32(step - 1), learner)
    drawn = jax.random.uniform(key)
    return lambda context: jax.random.uniform(context.key) == drawn


def at(step: int):
    """True at one step, counted from 1."""
    return lambda context: context.step == step - 1


def steps_of(records: Sequence[dict[str, Any]], name: str = "fit") -> list[int]:
    """The steps in a history, in its order."""
    trained = [r for r in records if r.get("phase") == name and any("train/" in key for key in r)]
    return [record["step"] for record in trained]


def by_hand(steps: int, left_out: int | None = None) -> float:
    """`a` after so many steps, by the formula."""
    a = np.float32(2.0)
    for step in range(steps):
        if step + 1 != left_out:
            batch = DATA[step % 4 * 3 :][:3]
            a -= np.float32(RATE) * 2 * np.mean(a - batch, dtype=np.float32)
    return float(a)
