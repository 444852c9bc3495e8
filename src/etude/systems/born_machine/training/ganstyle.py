"""`GANStyleTrainer`: the machine as a generator against a critic, and classification in sight.

Phases: the critic alone; then critic and machine in turns at every step. Whenever the accuracy
falls, classification is retrained, as the rescue of that phase.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from etude.callbacks import Callback, Timing
from etude.data import ArrayData
from etude.engine.criteria import Fallen
from etude.engine.direction import best, better
from etude.engine.learner import Learner
from etude.engine.phase import Epochs, Phase, Rescue
from etude.engine.rule import Context, Gradient
from etude.errors import ConfigurationError
from etude.systems.born_machine.config import Config
from etude.systems.born_machine.config_methods import SamplingConfig
from etude.systems.born_machine.critic import Critic, critic_loss, generator_loss
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.sampling import sample
from etude.systems.born_machine.training.measuring import validations
from etude.systems.born_machine.training.trainer import (
    AbstractBornTrainer,
    Metrics,
    best_of,
    goal_of,
    seconds,
    stopping,
)


class Game(eqx.Module):
    """The two who play."""

    machine: BornMachine
    critic: Critic


def machine_in(game: Game) -> BornMachine:
    """The generator."""
    return game.machine


def critic_in(game: Game) -> Critic:
    """Who judges it."""
    return game.critic


@dataclass(frozen=True)
class Risen:
    """True when the last value of a metric is NaN, or above its best by a fraction of that.

    A `reference`, if given, stands for the best.

    >>> Risen("valid/loss", tolerance=0.1)([{"valid/loss": 1.0}, {"valid/loss": 1.2}])
    True
    """

    metric: str
    tolerance: float
    reference: float | None = None

    def __call__(self, validations: Sequence[Mapping[str, float]]) -> bool:
        values = [found[self.metric] for found in validations if self.metric in found]
        if self.metric not in validations[-1]:
            return False
        reference = best("min", values) if self.reference is None else self.reference
        if reference is None or math.isnan(values[-1]):
            return True
        return better("min", reference, values[-1], by=self.tolerance * abs(reference))


def fallen(
    criterion: str, tolerance: float, reference: float | None
) -> Callable[[Sequence[Mapping[str, float]]], bool]:
    """When classification is retrained: the accuracy fell by, or the loss rose by a fraction of,
    the tolerance."""
    if criterion == "acc":
        return Fallen("valid/acc", tolerance, "max", reference)
    return Risen("valid/loss", tolerance, reference)


class GANStyleTrainer(AbstractBornTrainer):
    """Trains a Born machine against a critic, by `cfg.trainer.ganstyle`.

    Args:
        bornmachine: the machine, trained to classify.
        cfg: the whole configuration.
        datahandler: the data.
        critic: who judges the samples; a new one by default.
        best: metrics before the game, such as `ClassificationTrainer.best`. The accuracy (or
            loss) there is what may not be lost; the best so far, if None.
        options: `pretrain=True` begins with classification in this run; and those of
            `etude.Trainer`.

    Raises:
        ConfigurationError: data that do not fit the machine, or samples without a gradient.
    """

    def __init__(
        self,
        bornmachine: BornMachine,
        cfg: Config,
        datahandler: DataHandler,
        critic: Critic | None = None,
        best: Mapping[str, float] | None = None,
        **options: Any,
    ):
        config = cfg.trainer.ganstyle
        super().__init__(bornmachine, cfg, datahandler, config, "gan", **options)
        if critic is None:
            key = jax.random.key(cfg.tracking.seed)
            critic = Critic(bornmachine.sites, bornmachine.classes, config.critic, key=key)
        if config.sampling.method == "bins" or bornmachine.embedding.discrete:
            raise ConfigurationError(
                "GANStyleTrainer: the machine learns through its samples, and those of bins or of "
                "one-hot states have no gradient. Set ganstyle.sampling.method to 'secant' or "
                "'exact', and choose a continuous embedding."
            )
        self.critic, self.reference = critic, best

    def model(self) -> Game:
        return Game(self.bornmachine, self.critic)

    def machine_of(self, model: Game) -> BornMachine:
        return model.machine

    def main_phases(self, goal: Metrics | None) -> list[Phase]:
        alone = self.train_cfg.critic.discrimination.max_epoch_pre
        return [*([self._critic_alone()] if alone else []), self._game(goal)]

    def callbacks(self) -> list[Callback]:
        return [*super().callbacks(), stopping(self.train_cfg.retrain, "re")]

    def _game(self, goal: Metrics | None) -> Phase:
        config, critic, data = self.train_cfg, self.train_cfg.critic, self._side_by_side()
        steps, repeat = config.max_epoch * data.steps_per_epoch, critic.discrimination.max_epoch_gan
        turns = [
            Learner(
                Gradient(self._of_critic),
                critic.discrimination.optimizer.build(steps * repeat),
                where=critic_in,
                name="critic",
                repeat=repeat,
            ),
            Learner(
                Gradient(self._of_generator),
                config.optimizer.build(steps),
                where=machine_in,
                name="generator",
            ),
        ]
        crit = config.retrain_crit
        kept = None if self.reference is None else {crit: self.reference[crit]}
        reached = kept if crit == "acc" else None
        return Phase(
            self.stage,
            turns,
            data,
            Epochs(config.max_epoch),
            validation=validations(self.evaluator, machine_in),
            goal=goal_of(goal, self.evaluator),
            keep=best_of(config.stop_crit),
            rescue=Rescue(
                self.classification(config.retrain, "re", reached),
                when=fallen(crit, config.tolerance, None if kept is None else kept[crit]),
            ),
        )

    def _critic_alone(self) -> Phase:
        config, data = self.train_cfg.critic.discrimination, self._side_by_side()
        steps = config.max_epoch_pre * data.steps_per_epoch
        learner = Learner(Gradient(self._of_critic), config.optimizer.build(steps), where=critic_in)
        return Phase("critic", learner, data, Epochs(config.max_epoch_pre))

    def _side_by_side(self) -> ArrayData:
        """The training data, as the critic sees them."""
        size = self.train_cfg.critic.discrimination.batch_size
        return self.datahandler.by_class("train", size)

    def _of_critic(
        self, game: Game, real: Array, context: Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        a, b = jax.random.split(context.key)
        fake = jax.lax.stop_gradient(self._synthetic(game.machine, len(real), a))
        return critic_loss(game.critic, real, fake, self.train_cfg.critic, b)

    def _of_generator(self, game: Game, real: Array, context: Context) -> Float[Array, ""]:
        fake = self._synthetic(game.machine, len(real), context.key)
        return generator_loss(game.critic, fake, self.train_cfg.critic)

    def _synthetic(self, machine: BornMachine, real: int, key: Key[Array, ""]) -> Array:
        """Samples of every class, one for `r_real` real ones; differentiable."""
        config: SamplingConfig = self.train_cfg.sampling
        n = max(1, round(real / self.train_cfg.r_real))
        labels = jnp.tile(jnp.arange(machine.classes), n)
        drawn = sample(machine, key, labels, method=config.method, bins=config.num_bins)
        return drawn.reshape(n, machine.classes, machine.sites)

    def _times(self, timing: Timing, epochs: int) -> dict[str, float]:
        return {
            "gan/avg_epoch_time_total_s": seconds(timing, "gan", "re") / epochs,
            "gan/avg_epoch_time_no_retrain_s": seconds(timing, "gan") / epochs,
        }
