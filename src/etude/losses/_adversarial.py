"""Losses of a critic and a generator. All take the critic's raw scores, in any shape.

A critic step minimises one of the critic losses over real and generated samples, a generator
step the one of the same name over generated samples.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key


def bce_critic_loss(real: Float[Array, "*n"], fake: Float[Array, "*m"]) -> Float[Array, ""]:
    """`E[-log sigmoid(real)] + E[-log(1 - sigmoid(fake))]` (Goodfellow et al. 2014), in nats.

    >>> import jax.numpy as jnp
    >>> round(float(bce_critic_loss(jnp.zeros(3), jnp.zeros(3))), 4)
    1.3863
    """
    right = optax.losses.sigmoid_binary_cross_entropy(real, jnp.ones_like(real))
    wrong = optax.losses.sigmoid_binary_cross_entropy(fake, jnp.zeros_like(fake))
    return right.mean() + wrong.mean()


def bce_generator_loss(fake: Float[Array, "*m"]) -> Float[Array, ""]:
    """`E[-log sigmoid(fake)]`, the form that does not saturate (Goodfellow et al. 2014), in nats.

    >>> import jax.numpy as jnp
    >>> round(float(bce_generator_loss(jnp.zeros(3))), 4)
    0.6931
    """
    return optax.losses.sigmoid_binary_cross_entropy(fake, jnp.ones_like(fake)).mean()


def hinge_critic_loss(real: Float[Array, "*n"], fake: Float[Array, "*m"]) -> Float[Array, ""]:
    """`E[max(0, 1 - real)] + E[max(0, 1 + fake)]` (Lim and Ye 2017).

    >>> import jax.numpy as jnp
    >>> float(hinge_critic_loss(jnp.array([2.0, 0.0]), jnp.array([-3.0])))
    0.5
    """
    right = optax.losses.hinge_loss(real, jnp.ones_like(real))
    wrong = optax.losses.hinge_loss(fake, -jnp.ones_like(fake))
    return right.mean() + wrong.mean()


def hinge_generator_loss(fake: Float[Array, "*m"]) -> Float[Array, ""]:
    """`-E[fake]`: the generator is not clipped (Lim and Ye 2017).

    >>> import jax.numpy as jnp
    >>> float(hinge_generator_loss(jnp.array([1.0, 3.0])))
    -2.0
    """
    return -fake.mean()


def wasserstein_critic_loss(real: Float[Array, "*n"], fake: Float[Array, "*m"]) -> Float[Array, ""]:
    """`E[fake] - E[real]`: minus the distance that a 1-Lipschitz critic sees (Arjovsky 2017).

    Add `gradient_penalty` to hold the critic near slope one.

    >>> import jax.numpy as jnp
    >>> float(wasserstein_critic_loss(jnp.array([1.0, 3.0]), jnp.array([-1.0])))
    -3.0
    """
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake: Float[Array, "*m"]) -> Float[Array, ""]:
    """`-E[fake]` (Arjovsky et al. 2017).

    >>> import jax.numpy as jnp
    >>> float(wasserstein_generator_loss(jnp.array([1.0, 3.0])))
    -2.0
    """
    return -fake.mean()


def gradient_penalty(
    critic: Callable[[Float[Array, "*shape"]], Float[Array, "..."]],
    real: Float[Array, "batch *shape"],
    fake: Float[Array, "batch *shape"],
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """`E[(|d critic / d x| - 1)^2]` at random points between real and fake (Gulrajani et al. 2017).

    `critic` scores one sample, without a batch axis, by a single number. The norm is that of
    each sample's own gradient, over all its axes, and each sample draws its own point. Multiply
    by the weight that you want (10 in the paper).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> slope = jnp.array([3.0, 4.0])
    >>> x = jnp.ones((5, 2))
    >>> round(float(gradient_penalty(lambda sample: sample @ slope, x, -x, jax.random.key(0))), 4)
    16.0
    """
    share = jax.random.uniform(key, (len(real),), real.dtype)
    share = share.reshape(-1, *(1,) * (real.ndim - 1))
    between = share * real + (1 - share) * fake

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
    norms = jax.vmap(lambda g: optax.safe_norm(g.reshape(-1), 0.0))(gradients)
    return jnp.mean((norms - 1) ** 2)
