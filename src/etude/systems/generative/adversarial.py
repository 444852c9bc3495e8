"""Objectives of adversarial networks: what the critic and what the generator minimise.

With scores D of the critic, x of the data and g of the generator:

| objective | critic | generator |
|---|---|---|
| non-saturating (Goodfellow et al. 2014) | -log s(D(x)) - log(1 - s(D(g))) | -log s(D(g)) |
| least-squares (Mao et al. 2017) | (D(x) - 1)^2 / 2 + D(g)^2 / 2 | (D(g) - 1)^2 / 2 |
| hinge (Lim and Ye 2017) | max(0, 1 - D(x)) + max(0, 1 + D(g)) | -D(g) |
| wasserstein (Arjovsky et al. 2017) | D(g) - D(x) | -D(g) |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

import etude as et
from etude.errors import suggest
from etude.systems.generative.backbones import still
from etude.systems.generative.checks import model_of, weights_of
from etude.systems.generative.gan import GAN

Objective = Literal["non-saturating", "least-squares", "hinge", "wasserstein"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

Critic = Callable[[Float[Array, "n values"]], Float[Array, " n"]]


@dataclass(frozen=True)
class Adversarial:
    """The game of a `GAN`: two losses for `et.Gradient`, and the two learners of a phase.

    Attributes:
        objective: what is minimised, of the table above.
        r1: gamma of the penalty gamma / 2 E|grad D(x)|^2 on data (Mescheder et al. 2018).
        gradient_penalty: weight of E(|grad D| - 1)^2 between data and samples (WGAN-GP, Gulrajani
            et al. 2017; theirs is 10).

    Raises:
        ConfigurationError: an objective that is not known, a weight that is negative or infinite,
            or both penalties, which want different gradients.

    >>> game = Adversarial("hinge", r1=0.1)
    >>> model = GAN.create(jax.random.key(0), (2,), hidden=(16,))
    >>> learners = game.learners(optax.adam(1e-3), optax.adam(1e-3), ema=0.99)
    >>> phase = et.Phase("fit", learners, et.ArrayData(jnp.ones((8, 2)), 4), et.Steps(2))
    >>> et.Trainer(model, phase, progress=False).fit().model.sample(jax.random.key(1), 3).shape
    (3, 2)
    """

    objective: Objective = "non-saturating"
    r1: float = 0.0
    gradient_penalty: float = 0.0

    def __post_init__(self) -> None:
        weights_of("Adversarial", r1=self.r1, gradient_penalty=self.gradient_penalty)
        problems = []
        if self.objective not in OBJECTIVES:
            cure = suggest(str(self.objective), OBJECTIVES).rstrip(".?")
            problems.append(f"objective {self.objective!r} is unknown. {cure}")
        if self.r1 and self.gradient_penalty:
            problems.append(
                "r1 wants a gradient of 0 and gradient_penalty one of length 1: give one of them"
            )
        if problems:
            raise et.ConfigurationError(
                "\n".join(f"Adversarial: {problem}." for problem in problems)
            )

    def learners(
        self,
        critic: optax.GradientTransformation,
        generator: optax.GradientTransformation,
        *,
        repeat: int = 1,
        ema: float | Callable[[Array], Any] | None = None,
    ) -> tuple[et.Learner, et.Learner]:
        """The learners "critic" and "generator", which take turns in this order.

        Args:
            critic: optimizer of the critic.
            generator: optimizer of the generator.
            repeat: turns of the critic for one of the generator, on one batch, each with other
                noise.
            ema: decay of the average of the generator, as `etude.Learner` takes it, for
                `Phase(keep="ema")`.
        """
        return (
            et.Learner(
                et.Gradient(self.critic),
                critic,
                where=lambda model: model_of("Adversarial", model, GAN).critic,
                name="critic",
                repeat=repeat,
            ),
            et.Learner(
                et.Gradient(self.generator),
                generator,
                where=lambda model: model_of("Adversarial", model, GAN).generator,
                name="generator",
                ema=ema,
            ),
        )

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("Adversarial", model, GAN).read(batch)

    def critic(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array], GAN]:
        """What the critic minimises, its metrics, and the model with its normalisation moved.

        The generator gets no gradient. Metrics: `real` and `fake`, mean scores, and `penalty`,
        weighted.

        Raises:
            ConfigurationError: the Wasserstein objective without a penalty and without spectral
                normalisation: it has no minimum.
        """
        model = model_of("Adversarial", model, GAN)
        x, labels = model.read(batch)
        if self.objective == "wasserstein" and not self._penalised and model.norm is None:
            raise et.ConfigurationError(
                "Adversarial: the Wasserstein objective has no minimum over all critics. Give "
                "gradient_penalty=10, r1, or a model with spectral=True."
            )
        noise, between = jax.random.split(context.key)
        z = jax.random.normal(noise, (len(x), model.latent), x.dtype)
        fake = jax.lax.stop_gradient(model.generate(z, labels))
        net, moved = model.normalised()

        def score(x: Float[Array, "n values"]) -> Float[Array, " n"]:
            return net(x, labels)[..., 0]

        real, others = score(x), score(fake)
        loss = critic_loss(self.objective, real, others)
        metrics = {"real": real.mean(), "fake": others.mean()}
        if self._penalised:
            metrics["penalty"] = self._penalty(score, x, fake, between)
            loss = loss + metrics["penalty"]
        return loss, metrics, moved

    def generator(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """What the generator minimises; the critic gets no gradient."""
        model = model_of("Adversarial", model, GAN)
        x, labels = model.read(batch)
        z = jax.random.normal(context.key, (len(x), model.latent), x.dtype)
        net = still(model.normalised()[0])
        scores = net(model.generate(z, labels), labels)[..., 0]
        return generator_loss(self.objective, scores), {}

    @property
    def _penalised(self) -> bool:
        return bool(self.r1 or self.gradient_penalty)

    def _penalty(self, score: Critic, x: Array, fake: Array, key: Array) -> Float[Array, ""]:
        if self.r1:
            return 0.5 * self.r1 * squared_slopes(score, x).mean()
        share = jax.random.uniform(key, (len(x), 1), x.dtype)
        squares = squared_slopes(score, x + share * (fake - x))
        # The root has no gradient at 0, where a critic that is constant begins.
        slopes = jnp.sqrt(jnp.maximum(squares, 1e-12))
        return self.gradient_penalty * ((slopes - 1) ** 2).mean()


def critic_loss(
    objective: Objective, real: Float[Array, " n"], fake: Float[Array, " m"]
) -> Float[Array, ""]:
    """What a critic minimises, of its scores of data and of samples.

    >>> zeros = jnp.zeros(3)
    >>> round(float(critic_loss("non-saturating", zeros, zeros)), 4)  # 2 log 2
    1.3863
    """
    match objective:
        case "non-saturating":
            return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()
        case "least-squares":
            return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()
        case "hinge":
            return jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()
        case "wasserstein":
            return fake.mean() - real.mean()


def generator_loss(objective: Objective, fake: Float[Array, " n"]) -> Float[Array, ""]:
    """What a generator minimises, of the critic's scores of its samples.

    >>> float(generator_loss("least-squares", jnp.zeros(3)))
    0.5
    """
    match objective:
        case "non-saturating":
            return jax.nn.softplus(-fake).mean()
        case "least-squares":
            return 0.5 * ((fake - 1) ** 2).mean()
        case "hinge" | "wasserstein":
            return -fake.mean()


def squared_slopes(score: Critic, x: Float[Array, "n values"]) -> Float[Array, " n"]:
    """|grad score|^2 at each example; the score of one must not depend on the others.

    >>> squared_slopes(lambda x: x @ jnp.array([3.0, 4.0]), jnp.zeros((2, 2))).tolist()
    [25.0, 25.0]
    """
    return (jax.grad(lambda x: score(x).sum())(x) ** 2).sum(-1)
