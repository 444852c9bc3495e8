"""`GANStyleTrainer`: the machine as a generator against a critic, and classification in sight.

Phases: the critic alone; then critic and machine in turns at every step. Whenever the accuracy
falls, classification is retrained, as the rescue of that phase.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.systems.born_machine.config import Config
from etude.systems.born_machine.critic import Critic, critic_loss, generator_loss
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.sampling import sample
from etude.systems.born_machine.training.measuring import validations
from etude.systems.born_machine.training.result import BornResult, trained
from etude.systems.born_machine.training.stages import (
    Goal,
    Stage,
    best_of,
    check_fit,
    classification,
    goal_of,
    pre_stage,
    stage_of,
)
from etude.systems.born_machine.training.watching import composed

#: The times of the summary, and the phases whose seconds they add up.
TIMES = {
    "avg_epoch_time_total_s": ("gan", "re"),
    "avg_epoch_time_no_retrain_s": ("gan",),
}


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
        if self.metric not in validations[-1]:
            return False
        reference = self.reference
        if reference is None:
            seen = [found[self.metric] for found in validations if self.metric in found]
            reference = min((value for value in seen if not math.isnan(value)), default=None)
        if reference is None:  # NaN from the beginning
            return True
        tolerance = self.tolerance * abs(reference)
        return et.Fallen(self.metric, tolerance, "min", reference)(validations)


def fallen(
    criterion: str, tolerance: float, reference: float | None
) -> Callable[[Sequence[Mapping[str, float]]], bool]:
    """When classification is retrained: the accuracy fell by, or the loss rose by a fraction of,
    the tolerance."""
    if criterion == "acc":
        return et.Fallen("valid/acc", tolerance, "max", reference)
    return Risen("valid/loss", tolerance, reference)


@final
class GANStyleTrainer:
    """Trains a Born machine against a critic, by `cfg.trainer.ganstyle`.

    Args:
        bornmachine: the machine to start from, trained to classify; it stays as it is.
        cfg: the whole configuration.
        datahandler: the data, in the domain of the machine's embedding.
        critic: who judges the samples; None: a new one, by `cfg.trainer.ganstyle.critic`.
        best: metrics before the game, such as `best` of a `BornResult`. The accuracy (or loss)
            there is what may not be lost; None: the best of the game so far.
        pretrain: begin with the classification of `cfg.trainer.classification`, in the same run.
        options: options of `etude.Trainer`, such as `run`, `seed`, `callbacks` and `progress`.

    Raises:
        ConfigurationError: data that do not fit the machine, samples without a gradient, or a
            `best` without a number for `retrain_crit`.
    """

    def __init__(
        self,
        bornmachine: BornMachine,
        cfg: Config,
        datahandler: DataHandler,
        critic: Critic | None = None,
        best: Mapping[str, float] | None = None,
        *,
        pretrain: bool = False,
        **options: Any,
    ):
        check_fit(bornmachine, datahandler)
        if bornmachine.embedding.discrete:
            raise et.ConfigurationError(
                "GANStyleTrainer: the machine learns through its samples, and those of one-hot "
                "states have no gradient. Choose a continuous embedding."
            )
        crit = cfg.trainer.ganstyle.retrain_crit
        if best is not None and math.isnan(best.get(crit, math.nan)):
            raise et.ConfigurationError(
                f"GANStyleTrainer: best is {dict(best)}, without a number for {crit!r}, the "
                "retrain_crit. Measure it before the game, or leave best out."
            )
        self.bornmachine, self.cfg, self.datahandler = bornmachine, cfg, datahandler
        self.critic, self.best = critic, best
        self.pretrain, self.options = pretrain, options

    def game(self) -> Game:
        """The machine and its critic, as they are before the training."""
        critic = self.critic
        if critic is None:
            key, born = jax.random.key(self.cfg.tracking.seed), self.bornmachine
            critic = Critic(born.sites, born.classes, self.cfg.trainer.ganstyle.critic, key=key)
        return Game(self.bornmachine, critic)

    def phases(self, goal: Goal | None = None) -> list[et.Phase]:
        """The critic alone and the game, after a phase of classification if `pretrain`."""
        *before, again, stage = self._stages()
        alone = self.cfg.trainer.ganstyle.critic.discrimination.max_epoch_pre
        critic = [self._critic_alone()] if alone else []
        return [*map(classification, before), *critic, self._game(stage, again, goal)]

    def trainer(self, goal: Goal | None = None) -> et.Trainer:
        """The `etude.Trainer` of the phases, to be run, resumed or loaded from."""
        return composed(self.game(), self.phases(goal), self._stages(), self.options)

    def train(self, goal: Goal | None = None) -> BornResult:
        """Trains, keeps the best machine and measures it; as `ClassificationTrainer.train`.

        The critic is in `result.model`.
        """
        return trained(self.game(), self.phases(goal), self._stages(), self.options, TIMES)

    def _stages(self) -> list[Stage]:
        """Classification before the game if `pretrain`, retraining within it, the game."""
        cfg, data, parts = self.cfg, self.datahandler, self.cfg.trainer
        before = [pre_stage(cfg, data, machine_in)] if self.pretrain else []
        again = stage_of("re", parts.ganstyle.retrain, cfg, data, machine_of=machine_in)
        return [*before, again, stage_of("gan", parts.ganstyle, cfg, data, machine_of=machine_in)]

    def _game(self, stage: Stage, again: Stage, goal: Goal | None) -> et.Phase:
        config, data = self.cfg.trainer.ganstyle, self._side_by_side()
        steps, critic = config.max_epoch * data.steps_per_epoch, config.critic.discrimination
        turns = [
            et.Learner(
                et.Gradient(self._of_critic),
                critic.optimizer.build(steps * critic.max_epoch_gan),
                where=critic_in,
                name="critic",
                repeat=critic.max_epoch_gan,
            ),
            et.Learner(
                et.Gradient(self._of_generator),
                config.optimizer.build(steps),
                where=machine_in,
                name="generator",
            ),
        ]
        crit = config.retrain_crit
        kept = None if self.best is None else float(self.best[crit])
        # Retraining ends once the accuracy is back.
        reached = {crit: kept} if crit == "acc" and kept is not None else None
        return et.Phase(
            stage.name,
            turns,
            data,
            et.Epochs(config.max_epoch),
            validation=validations(stage.evaluator, machine_in),
            goal=goal_of(goal, stage.evaluator),
            keep=best_of(config.stop_crit),
            rescue=et.Rescue(
                classification(again, reached),
                when=fallen(crit, config.tolerance, kept),
            ),
        )

    def _critic_alone(self) -> et.Phase:
        config, data = self.cfg.trainer.ganstyle.critic.discrimination, self._side_by_side()
        steps = config.max_epoch_pre * data.steps_per_epoch
        rule, optimizer = et.Gradient(self._of_critic), config.optimizer.build(steps)
        learner = et.Learner(rule, optimizer, where=critic_in)
        return et.Phase("critic", learner, data, et.Epochs(config.max_epoch_pre))

    def _side_by_side(self) -> et.ArrayData:
        """The training data, as the critic sees them."""
        size = self.cfg.trainer.ganstyle.critic.discrimination.batch_size
        return self.datahandler.by_class("train", size)

    def _of_critic(
        self, game: Game, real: Array, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        a, b = jax.random.split(context.key)
        fake = jax.lax.stop_gradient(self._synthetic(game.machine, len(real), a))
        return critic_loss(game.critic, real, fake, self.cfg.trainer.ganstyle.critic, b)

    def _of_generator(self, game: Game, real: Array, context: et.Context) -> Float[Array, ""]:
        fake = self._synthetic(game.machine, len(real), context.key)
        return generator_loss(game.critic, fake, self.cfg.trainer.ganstyle.critic)

    def _synthetic(self, machine: BornMachine, real: int, key: Key[Array, ""]) -> Array:
        """Samples of every class, one for `r_real` real ones; differentiable."""
        config = self.cfg.trainer.ganstyle
        n = max(1, round(real / config.r_real))
        labels = jnp.tile(jnp.arange(machine.classes), n)
        drawing = config.sampling
        drawn = sample(machine, key, labels, method=drawing.method, bins=drawing.num_bins)
        return drawn.reshape(n, machine.classes, machine.sites)
