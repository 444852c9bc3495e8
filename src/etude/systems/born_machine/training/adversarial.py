"""`AdversarialTrainer`: classification that resists attacks within the embedding's domain."""

from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et
from etude.systems.born_machine.attacks import ascend, evade
from etude.systems.born_machine.config import AdversarialConfig, Config
from etude.systems.born_machine.criteria import AbstractCriterion, criterion_of
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.result import BornResult, trained
from etude.systems.born_machine.training.stages import (
    Goal,
    Stage,
    check_fit,
    classification,
    phase_of,
    pre_stage,
    stage_of,
)
from etude.systems.born_machine.training.watching import composed

Loss = tuple[Float[Array, ""], dict[str, Array]]
Batch = tuple[Array, Array]


@final
class AdversarialTrainer:
    """Trains a Born machine to resist attacks, by `cfg.trainer.adversarial`.

    `pgd_at`: ``(1 - clean_weight) L(x', y) + clean_weight L(x, y)`` at the attacked inputs x'
    (Madry et al., arXiv:1706.06083). `trades`: ``L(x, y) + beta KL(p(.|x) || p(.|x'))``, where the
    attack is what maximises that divergence (Zhang et al., arXiv:1901.08573).

    Args:
        bornmachine: the machine to start from; it stays as it is.
        cfg: the whole configuration.
        datahandler: the data, in the domain of the machine's embedding.
        pretrain: begin with the classification of `cfg.trainer.classification`, in the same run.
        options: options of `etude.Trainer`, such as `run`, `seed`, `callbacks` and `progress`.

    Raises:
        ConfigurationError: data that do not fit the machine.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Config, DataHandler, Embedding
    >>> cfg = Config(dataset={"name": "moons_small"}, trainer={"adversarial": {
    ...     "max_epoch": 2, "batch_size": 60, "metrics": {"rob": 1, "acc": 1, "loss": 1}}})
    >>> data = DataHandler(cfg.dataset, (-1.0, 1.0))
    >>> machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 4), 3)
    >>> trained = AdversarialTrainer(machine, cfg, data, progress=False).train()
    >>> sorted(trained.best)
    ['acc', 'loss', 'rob', 'rob/0.1']
    """

    def __init__(
        self,
        bornmachine: BornMachine,
        cfg: Config,
        datahandler: DataHandler,
        *,
        pretrain: bool = False,
        **options: Any,
    ):
        check_fit(bornmachine, datahandler)
        self.bornmachine, self.cfg, self.datahandler = bornmachine, cfg, datahandler
        self.pretrain, self.options = pretrain, options

    def phases(self, goal: Goal | None = None) -> list[et.Phase]:
        """The phase of training against attacks, after one of classification if `pretrain`."""
        config = self.cfg.trainer.adversarial
        chosen = adversarial_loss if config.method == "pgd_at" else trades_loss
        low, high = self.datahandler.domain
        loss = partial(
            chosen,
            config=config,
            criterion=criterion_of(config.criterion),
            domain=(float(low), float(high)),
        )
        *before, stage = self._stages()
        return [*map(classification, before), phase_of(stage, loss, goal)]

    def trainer(self, goal: Goal | None = None) -> et.Trainer:
        """The `etude.Trainer` of the phases, to be run, resumed or loaded from."""
        return composed(self.bornmachine, self.phases(goal), self._stages(), self.options)

    def train(self, goal: Goal | None = None) -> BornResult:
        """Trains, keeps the best machine and measures it; as `ClassificationTrainer.train`."""
        return trained(self.bornmachine, self.phases(goal), self._stages(), self.options)

    def _stages(self) -> list[Stage]:
        config = self.cfg.trainer.adversarial
        before = [pre_stage(self.cfg, self.datahandler)] if self.pretrain else []
        return [*before, stage_of("adv", config, self.cfg, self.datahandler)]


def adversarial_loss(
    machine: BornMachine,
    batch: Batch,
    context: et.Context,
    config: AdversarialConfig,
    criterion: AbstractCriterion,
    domain: tuple[float, float],
) -> Loss:
    """The criterion at the attacked inputs, and by `clean_weight` at the clean ones."""
    x, labels = batch
    strength = strength_at(config, context.progress)
    moved = evade(
        config.evasion, machine.log_weights, x, labels, context.key,
        strength=strength, domain=domain,
    )  # fmt: skip
    attacked = criterion(machine, (moved, labels))
    clean = criterion(machine, batch)
    loss = (1 - config.clean_weight) * attacked + config.clean_weight * clean
    epsilon = radius_of(config, strength, domain)
    return loss, {"epsilon": epsilon, "adv_loss": attacked, "clean_loss": clean}


def trades_loss(
    machine: BornMachine,
    batch: Batch,
    context: et.Context,
    config: AdversarialConfig,
    criterion: AbstractCriterion,
    domain: tuple[float, float],
) -> Loss:
    """The criterion at the clean inputs, and the divergence to the worst ones near them."""
    x, _ = batch
    evasion, strength = config.evasion, strength_at(config, context.progress)
    epsilon = radius_of(config, strength, domain)
    clean = machine.class_log_probabilities(x)
    given = evasion.step_size
    moved = ascend(
        lambda near: divergence(
            jax.lax.stop_gradient(clean), machine.class_log_probabilities(near)
        ),
        x,
        # Where x' is x the divergence has its minimum, and no gradient: the start is always random.
        context.key,
        epsilon=epsilon,
        domain=domain,
        norm=evasion.norm,
        num_steps=1 if evasion.method == "FGM" else evasion.num_steps,
        step_size=None if given is None else evasion.radius(given, domain),
    )
    apart = jnp.mean(divergence(clean, machine.class_log_probabilities(moved)))
    natural = criterion(machine, batch)
    metrics = {"epsilon": epsilon, "kl_loss": apart, "clean_loss": natural}
    return natural + config.trades_beta * apart, metrics


def divergence(
    log_p: Float[Array, "batch classes"], log_q: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """The Kullback-Leibler divergence ``sum_c p (log p - log q)`` of each sample, in nats."""
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1)


def strength_at(
    config: AdversarialConfig, progress: Float[Array | np.ndarray, ""]
) -> Float[Array, ""]:
    """The strength of the attack: with a curriculum, rising from epoch to epoch.

    >>> config = AdversarialConfig(curriculum=True, curriculum_end_epoch=50, max_epoch=100)
    >>> round(float(strength_at(config, jnp.asarray(0.25))), 3)
    0.05
    """
    full = config.evasion.strengths[0]
    if not config.curriculum:
        return jnp.asarray(full, progress.dtype)
    share = progress * config.max_epoch / (config.curriculum_end_epoch or config.max_epoch)
    start = config.curriculum_start
    return start + (full - start) * jnp.minimum(share, 1.0)


def radius_of(
    config: AdversarialConfig, strength: Float[Array, ""], domain: tuple[float, float]
) -> Float[Array, ""]:
    """The strength in the coordinates of the domain."""
    return strength * config.evasion.radius(1.0, domain)
