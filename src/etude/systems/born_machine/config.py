"""Typed configurations of Born machines and their trainers, with the seed's names and defaults.

All are frozen, refuse unknown fields with the nearest known one, and check what depends on each
other: a stop criterion that is never measured, a split that does not add up.

>>> cfg = Config()
>>> cfg.trainer.classification.patience, cfg.trainer.ganstyle.retrain.stop_crit
(40, 'acc')
>>> ClassificationConfig(metrics={"acc": 1}, stop_crit="loss")  # doctest: +ELLIPSIS
Traceback (most recent call last):
pydantic_core._pydantic_core.ValidationError: 1 validation error for ClassificationConfig
  Value error, ClassificationConfig: stop_crit 'loss' is not among the metrics (acc), so training \
would go by a number that nobody measures: add loss=1 to metrics, or choose one of them ...
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from etude.config import Config as Typed, refuse
from etude.systems.born_machine.config_attacks import EvasionConfig
from etude.systems.born_machine.config_methods import (
    CriterionConfig,
    CriticConfig,
    GameSamplingConfig,
    MetricsConfig,
    OptimizerSpec,
    SamplingConfig,
    Stop,
    idle,
)
from etude.systems.born_machine.config_model import BornMachineConfig, DatasetConfig

Fraction = Annotated[float, Field(ge=0, le=1)]
Epoch = Annotated[int, Field(ge=1)]

WATCH = (
    "steps between looks for gradients longer than 1000, of which a warning tells; while there are "
    "any, the history has their norms at every step; 0: neither"
)
#: Fields of the seed that have no meaning here.
CURES = {
    "save": "leave it out: a run keeps the best weights in any case; give the trainer run=...",
    "auto_stack": "leave it out: a memory layout of tensorkrowch; sites lie stacked here",
    "auto_unbind": "leave it out: a memory layout of tensorkrowch; sites lie stacked here",
}


class _Training(Typed, frozen=True):
    """What the trainers that go by epochs share."""

    cures: ClassVar[dict[str, str]] = CURES

    max_epoch: Epoch = 100
    batch_size: int = Field(default=64, ge=1)
    optimizer: OptimizerSpec = OptimizerSpec()
    criterion: CriterionConfig = CriterionConfig()
    patience: int = Field(
        default=50, ge=0, description="epochs without improvement before it stops"
    )
    stop_crit: Stop = Field(
        default="loss", description="the metric that patience and the best go by"
    )
    watch_freq: int = Field(default=0, ge=0, description=WATCH)
    metrics: MetricsConfig = Field(
        default=MetricsConfig(loss=1), description="metric -> epochs between its measurements"
    )

    @model_validator(mode="after")
    def _measured(self) -> "_Training":
        refuse(type(self).__name__, self.metrics.missing(self.stop_crit, "stop_crit"))
        return self


class ClassificationConfig(_Training, frozen=True):
    """Training of p(c|x), before everything else ("pre") or between ("re").

    >>> ClassificationConfig().max_epoch
    300
    """

    max_epoch: Epoch = 300
    patience: int = Field(
        default=40, ge=0, description="epochs without improvement before it stops"
    )
    watch_freq: int = Field(default=1000, ge=0, description=WATCH)
    metrics: MetricsConfig = MetricsConfig(loss=1, acc=1, viz=30, fid=30, rob=30)


class GenerativeConfig(_Training, frozen=True):
    """Training of p(x|c) or p(x,c) by exact likelihood.

    >>> GenerativeConfig().criterion.name
    'generative-nll'
    """

    criterion: CriterionConfig = CriterionConfig(name="generative-nll")
    watch_freq: int = Field(default=100, ge=0, description=WATCH)
    metrics: MetricsConfig = MetricsConfig(loss=1, fid=10, viz=10)


class AdversarialConfig(_Training, frozen=True):
    """Training against attacks: PGD adversarial training, or TRADES.

    >>> AdversarialConfig(method="trades").trades_beta
    6.0
    """

    method: Literal["pgd_at", "trades"] = "pgd_at"
    batch_size: int = Field(default=256, ge=1)
    patience: int = Field(
        default=30, ge=0, description="epochs without improvement before it stops"
    )
    stop_crit: Stop = "rob"
    metrics: MetricsConfig = MetricsConfig(loss=1, acc=1, rob=1)
    evasion: EvasionConfig = Field(
        default=EvasionConfig(method="PGD", norm="l2", strengths=(0.1,)),
        description="the attack trained against, at its one strength",
    )
    trades_beta: float = Field(
        default=6.0, ge=0, description="weight of the KL divergence of TRADES"
    )
    clean_weight: Fraction = Field(default=0.0, description="weight of the clean loss in pgd_at")
    curriculum: bool = Field(
        default=False, description="whether the strength grows with the epochs"
    )
    curriculum_start: float = Field(default=0.0, ge=0, description="strength in the first epoch")
    curriculum_end_epoch: Epoch | None = Field(
        default=None, description="epoch of full strength; none: the last"
    )

    @model_validator(mode="after")
    def _curriculum_rises(self) -> "AdversarialConfig":
        strength = self.evasion.strengths[0]
        problems = []
        if self.curriculum and self.curriculum_start > strength:
            problems.append(
                f"curriculum_start {self.curriculum_start} is above the strength {strength} that "
                "it shall grow to: lower it"
            )
        if not self.curriculum and self.curriculum_end_epoch is not None:
            problems.append("curriculum_end_epoch needs curriculum=True")
        if self.evasion.method == "JOINT_PGD" and self.method == "trades":
            problems.append("TRADES maximises the KL divergence: set evasion.method to PGD or FGM")
        if self.method == "trades" and not self.evasion.random_start:
            problems.append(
                "TRADES starts at random, for at the input the divergence has no gradient: leave "
                "evasion.random_start out"
            )
        if len(self.evasion.strengths) > 1:
            problems.append(
                f"evasion.strengths {self.evasion.strengths}: one strength is trained against; "
                "several can be measured, by tracking.evasion"
            )
        trades = self.method == "trades"
        problems += idle(self, trades, "trades_beta", where="with method='trades'")
        problems += idle(self, not trades, "clean_weight", where="with method='pgd_at'")
        problems += idle(self, self.curriculum, "curriculum_start", where="with curriculum=True")
        refuse(type(self).__name__, problems)
        return self


class GANStyleConfig(Typed, frozen=True):
    """The generator against a critic, with retraining when classification suffers.

    >>> GANStyleConfig().tolerance
    0.05
    """

    cures: ClassVar[dict[str, str]] = CURES

    max_epoch: Epoch = 100
    critic: CriticConfig = CriticConfig()
    sampling: GameSamplingConfig = GameSamplingConfig()
    r_real: float = Field(default=1.0, gt=0, description="real samples per synthetic one")
    optimizer: OptimizerSpec = OptimizerSpec()
    watch_freq: int = Field(default=1, ge=0, description=WATCH)
    metrics: MetricsConfig = MetricsConfig(loss=1, acc=1, rob=1)
    retrain_crit: Literal["acc", "loss"] = Field(
        default="acc", description="the metric that may not fall"
    )
    tolerance: float = Field(
        default=0.05,
        ge=0,
        description="fall of acc, or relative rise of loss, before it is retrained",
    )
    retrain: ClassificationConfig = ClassificationConfig(
        max_epoch=40, batch_size=256, patience=30, stop_crit="acc", watch_freq=0,
        metrics=MetricsConfig(loss=1, acc=1),
    )  # fmt: skip
    stop_crit: Stop = Field(
        default="acc", description="the metric that the best state is chosen by"
    )

    @model_validator(mode="after")
    def _measured(self) -> "GANStyleConfig":
        found = self.metrics.missing(self.stop_crit, "stop_crit")
        found += self.metrics.missing(self.retrain_crit, "retrain_crit")
        refuse("GANStyleConfig", found)
        return self


class TrackingConfig(Typed, frozen=True):
    """What is measured, and how, beside the training itself.

    >>> TrackingConfig().evasion.strengths
    (0.1,)
    """

    cures: ClassVar[dict[str, str]] = {
        "purification": "leave it out: nothing is purified here; purify takes a PurificationConfig"
    }

    seed: int = Field(default=42, ge=0, lt=2**31, description="seed of samples and attacks")
    sampling: SamplingConfig = SamplingConfig()
    evasion: EvasionConfig = EvasionConfig(method="PGD", norm="l2", strengths=(0.1,))
    distances: int = Field(
        default=2000, ge=2, description="samples of each class at most in fid, mmd and swd"
    )


class TrainerConfig(Typed, frozen=True):
    """One configuration for each trainer.

    >>> TrainerConfig().generative.patience
    50
    """

    classification: ClassificationConfig = ClassificationConfig()
    ganstyle: GANStyleConfig = GANStyleConfig()
    generative: GenerativeConfig = GenerativeConfig()
    adversarial: AdversarialConfig = AdversarialConfig()


class Config(Typed, frozen=True):
    """Everything: data, Born machine, trainers, tracking.

    >>> Config(dataset={"name": "circles_4k"}).dataset.noise
    0.05
    """

    dataset: DatasetConfig = DatasetConfig()
    born: BornMachineConfig = BornMachineConfig()
    trainer: TrainerConfig = TrainerConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        problems = []
        if self.born.embedding == "onehot" and self.dataset.scaler != "binary":
            problems.append(
                "a one-hot embedding takes whole numbers: set dataset.scaler to 'binary', or "
                "choose another embedding"
            )
        refuse("Config", problems)
        return self
