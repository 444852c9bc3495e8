"""Losses of a critic and a generator. All take the critic's raw scores, in any shape.

Scores are floating-point numbers (`DataError` for others); means are taken in float32 or wider.

A critic step minimises one of the critic losses over real and generated samples, a generator
step the one of the same name over generated samples.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from etude.inputs import Values, check_same_shape, real_floats
from etude.inputs.arrays import refusal


def bce_critic_loss(real: Values, fake: Values) -> Float[Array, ""]:
    """`E[-log sigmoid(real)] + E[-log(1 - sigmoid(fake))]` (Goodfellow et al. 2014), in nats.

    >>> import jax.numpy as jnp
    >>> round(float(bce_critic_loss(jnp.zeros(3), jnp.zeros(3))), 4)
    1.3863
    """
    real, fake = _scores("bce_critic_loss", real=real, fake=fake)
    right = optax.losses.sigmoid_binary_cross_entropy(real, jnp.ones_like(real))
    wrong = optax.losses.sigmoid_binary_cross_entropy(fake, jnp.zeros_like(fake))
    return right.mean() + wrong.mean()


def bce_generator_loss(fake: Values) -> Float[Array, ""]:
    """`E[-log sigmoid(fake)]`, the form that does not saturate (Goodfellow et al. 2014), in nats.

    >>> import jax.numpy as jnp
    >>> round(float(bce_generator_loss(jnp.zeros(3))), 4)
    0.6931
    """
    (fake,) = _scores("bce_generator_loss", fake=fake)
    return optax.losses.sigmoid_binary_cross_entropy(fake, jnp.ones_like(fake)).mean()


def hinge_critic_loss(real: Values, fake: Values) -> Float[Array, ""]:
    """`E[max(0, 1 - real)] + E[max(0, 1 + fake)]` (Lim and Ye 2017).

    >>> import jax.numpy as jnp
    >>> float(hinge_critic_loss(jnp.array([2.0, 0.0]), jnp.array([-3.0])))
    0.5
    """
    real, fake = _scores("hinge_critic_loss", real=real, fake=fake)
    right = optax.losses.hinge_loss(real, jnp.ones_like(real))
    wrong = optax.losses.hinge_loss(fake, -jnp.ones_like(fake))
    return right.mean() + wrong.mean()


def hinge_generator_loss(fake: Values) -> Float[Array, ""]:
    """`-E[fake]`: the generator is not clipped (Lim and Ye 2017).

    >>> import jax.numpy as jnp
    >>> float(hinge_generator_loss(jnp.array([1.0, 3.0])))
    -2.0
    """
    (fake,) = _scores("hinge_generator_loss", fake=fake)
    return -fake.mean()


def wasserstein_critic_loss(real: Values, fake: Values) -> Float[Array, ""]:
    """`E[fake] - E[real]`: minus the distance that a 1-Lipschitz critic sees (Arjovsky 2017).

    Add `gradient_penalty` to hold the critic near slope one.

    >>> import jax.numpy as jnp
    >>> float(wasserstein_critic_loss(jnp.array([1.0, 3.0]), jnp.array([-1.0])))
    -3.0
    """
    real, fake = _scores("wasserstein_critic_loss", real=real, fake=fake)
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake: Values) -> Float[Array, ""]:
    """`-E[fake]` (Arjovsky et al. 2017).

    >>> import jax.numpy as jnp
    >>> float(wasserstein_generator_loss(jnp.array([1.0, 3.0])))
    -2.0
    """
    (fake,) = _scores("wasserstein_generator_loss", fake=fake)
    return -fake.mean()


def _scores(owner: str, **scores: Values) -> list[Float[Array, "..."]]:
    return [real_floats(owner, name, values) for name, values in scores.items()]


def gradient_penalty(
    critic: Callable[[Float[Array, "*shape"]], Float[Array, "..."]],
    real: Values,
    fake: Values,
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """`E[(|d critic / d x| - 1)^2]` at random points between real and fake (Gulrajani et al. 2017).

    `critic` scores one sample, without a batch axis, by a single number. The norm is that of
    each sample's own gradient, over all its axes, and each sample draws its own point. `real` and
    `fake` are `(batch, ...)`, of one shape and dtype, in which the critic gets its points; all
    else is computed in float32 or wider. Multiply by the weight that you want (10 in the paper).

    Raises `DataError` for other shapes and dtypes; ValueError for a critic of batches.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> slope = jnp.array([3.0, 4.0])
    >>> x = jnp.ones((5, 2))
    >>> round(float(gradient_penalty(lambda sample: sample @ slope, x, -x, jax.random.key(0))), 4)
    16.0
    """
    dtype, other = jnp.asarray(real).dtype, jnp.asarray(fake).dtype
    if dtype != other:
        raise refusal(
            "gradient_penalty",
            f"real of {dtype} and fake of {other}",
            "one dtype, in which the critic gets its points",
            "Convert one of them with astype.",
        )
    real, fake = _scores("gradient_penalty", real=real, fake=fake)
    check_same_shape("gradient_penalty", real=real, fake=fake)
    share = jax.random.uniform(key, (len(real),), real.dtype)
    share = share.reshape(-1, *(1,) * (real.ndim - 1))
    between = (share * real + (1 - share) * fake).astype(dtype)

    def score(sample: Float[Array, "*shape"]) -> Float[Array, ""]:
        value = critic(sample)
        if value.size != 1:
            raise ValueError(
                f"gradient_penalty: the critic gave shape {value.shape} for one sample of shape "
                f"{sample.shape}, expected a single number. Pass the critic of one sample, not "
                "of a batch: the penalty maps over the batch itself."
            )
        return value.reshape(())

    gradients = jax.vmap(jax.grad(score))(between)
    # Safe: a critic that is flat somewhere has the norm 0 there, not the gradient NaN.
    norms = jax.vmap(lambda g: optax.safe_norm(g.astype(real.dtype).reshape(-1), 0.0))(gradients)
    return jnp.mean((norms - 1) ** 2)
