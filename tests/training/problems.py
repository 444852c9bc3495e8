"""Small real problems that several tests train on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import etude as et


def blobs(samples: int = 200, seed: int = 0):
    """Two overlapping blobs in the plane, and their labels."""
    key = jax.random.key(seed)
    labels = jnp.arange(samples) % 2
    centres = jnp.array([[-1.0, 0.0], [1.0, 0.5]])
    return centres[labels] + 0.7 * jax.random.normal(key, (samples, 2)), labels


def mlp(seed: int = 0, width: int = 8) -> eqx.nn.MLP:
    """A small perceptron with two outputs."""
    return eqx.nn.MLP(2, 2, width, 1, key=jax.random.key(seed))


def cross_entropy(model, batch, context):
    """Mean cross-entropy and accuracy of a model that maps one sample."""
    x, labels = batch
    logits = jax.vmap(model)(x)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, {"accuracy": jnp.mean(logits.argmax(-1) == labels)}


def learner(**options) -> et.Learner:
    """Adam on the cross-entropy."""
    return et.Learner(et.Gradient(cross_entropy), optax.adam(1e-2), **options)


def fit(model, phases, **options) -> et.Result:
    """Trains quietly."""
    return et.Trainer(model, phases, progress=False, **options).fit()


def same(a, b) -> bool:
    """Whether two models have the same bits."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(
        bool((jnp.asarray(x) == jnp.asarray(y)).all()) if eqx.is_array(x) else x == y
        for x, y in pairs
    )
