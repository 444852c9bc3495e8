"""Small trainings, and how far two of them are apart."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 6))
Y = np.tanh(X @ RNG.normal(size=6))


def distance(one, other) -> float:
    """The largest difference of two models, relative to the size of the leaf."""
    pairs = zip(arrays(one), arrays(other), strict=True)
    return max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30) for a, b in pairs)


def arrays(model) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))]


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def mesh(devices: int | None):
    return None if devices is None else et.mesh(data=devices)


def squares(model, batch, context):
    x, y = batch
    return jnp.mean((et.widened(jax.vmap(model)(x)[:, 0]) - y) ** 2)


def network(width: int = 64) -> eqx.nn.MLP:
    return eqx.nn.MLP(6, 1, width, 2, key=jax.random.key(0))


def phase(data=None, length: int = 50, validation: bool = True, **options) -> et.Phase:
    """Four batches of 24 an epoch, and one of 4, which eight devices do not divide."""
    options = {"accumulate": 3, "ema": 0.9, "clip_norm": 1.0} | options
    learner = et.Learner(et.Gradient(squares), optax.adam(1e-2), **options)
    held = et.Validation(et.ArrayData((X, Y), 24), every=et.Steps(20))
    data = et.ArrayData((X, Y), 24) if data is None else data
    return et.Phase("fit", learner, data, et.Steps(length), held if validation else ())


def fit(model, phases, devices: int | None = None, **options) -> et.Result:
    options = {"mesh": mesh(devices), "progress": False} | options
    return et.Trainer(model, phases, **options).fit()


def assert_equal(model, phases, counts, within: float = 1e-5, **options) -> et.Result:
    """One device and each number of devices train the same."""
    alone = fit(model, phases, **options)
    for count in counts:
        together = fit(model, phases, count, **options)
        apart = distance(together.model, alone.model)
        assert apart < within, f"{count} devices: {apart}"
        for name, value in alone.metrics.items():
            assert abs(together.metrics[name] - value) <= within * max(1.0, abs(value)), name
        assert jax.tree.leaves(together.model)[0].devices() == set(jax.devices()[:count])
    return alone
