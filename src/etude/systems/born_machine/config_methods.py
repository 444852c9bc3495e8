"""The parts that the configurations of several trainers share.

>>> MetricsConfig(loss=1, rob=30).due(60)
('loss', 'rob')
"""

from typing import Annotated, ClassVar, Literal, get_args

import optax
from pydantic import Field, model_validator

from etude.config import Config, refuse
from etude.optim import OptimizerConfig, SchedulerConfig

#: Metrics by which the best model can be chosen, and whether more of them is better.
Stop = Literal["loss", "acc", "rob", "fid", "clsloss", "nll", "genloss", "mmd", "swd"]
RISES = {name: name in ("acc", "rob") for name in get_args(Stop)}


def idle(config: Config, used: bool, *names: str, where: str) -> list[str]:
    """A sentence for each field that is set, though nothing goes by it; none if it is used.

    >>> idle(DiscriminationConfig(batch_size=8), False, "batch_size", where="in a game")
    ['batch_size=8 has no effect but in a game: leave it out']
    """
    if used:
        return []
    fields, found = type(config).model_fields, {name: getattr(config, name) for name in names}
    return [
        f"{name}={value!r} has no effect but {where}: leave it out"
        for name, value in found.items()
        if value != fields[name].default
    ]


Every = Annotated[int, Field(ge=1)] | None
Positive = Annotated[float, Field(gt=0)]


class MetricsConfig(Config, frozen=True):
    """Which metrics are measured, and every how many epochs; None: never.

    >>> MetricsConfig(loss=1, acc=2).names
    ('loss', 'acc')
    """

    loss: Every = Field(default=None, description="the criterion that is trained")
    acc: Every = Field(default=None, description="fraction of samples whose class is predicted")
    viz: Every = Field(
        default=None, description="samples beside the data, as arrays or as a figure"
    )
    fid: Every = Field(default=None, description="Frechet distance of samples and training data")
    rob: Every = Field(
        default=None, description="accuracy under attack, one value for each strength"
    )
    clsloss: Every = Field(default=None, description="-log p(c|x), nats")
    nll: Every = Field(default=None, description="-log p(x|c), nats")
    genloss: Every = Field(default=None, description="-log p(x,c), nats")
    mmd: Every = Field(default=None, description="maximum mean discrepancy, squared and unbiased")
    swd: Every = Field(default=None, description="sliced Wasserstein distance")

    @model_validator(mode="after")
    def _some(self) -> "MetricsConfig":
        refuse("MetricsConfig", [] if self.names else ["no metric is measured: give loss=1"])
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that are measured at all."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def due(self, epoch: int | None) -> tuple[str, ...]:
        """The metrics of an epoch: those whose frequency divides it; for None all.

        >>> MetricsConfig(loss=1, fid=10).due(5)
        ('loss',)
        """
        return tuple(n for n in self.names if epoch is None or epoch % getattr(self, n) == 0)

    def missing(self, name: str, field: str) -> list[str]:
        """A sentence if nobody measures the metric that `field` goes by, else nothing."""
        if name in self.names:
            return []
        return [
            f"{field} {name!r} is not among the metrics ({', '.join(self.names)}), so training "
            f"would go by a number that nobody measures: add {name}=1 to metrics, or choose one "
            "of them"
        ]


class OptimizerKwargs(Config, frozen=True):
    """Arguments of an optimizer, named as in torch.

    >>> OptimizerKwargs().lr
    0.0001
    """

    cures: ClassVar[dict[str, str]] = {"learning_rate": "write lr", "beta1": "write betas"}

    lr: Positive = 1e-4
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] | None = None
    eps: Positive | None = None
    momentum: float | None = Field(default=None, ge=0, lt=1)
    gradient_clip_norm: Positive | None = Field(
        default=None,
        description="longest gradient; the logarithm of an amplitude near zero has very long ones",
    )


class OptimizerSpec(Config, frozen=True):
    """An optimizer by name, as the seed writes it; `build` makes it with `etude.optim`.

    >>> OptimizerSpec(name="sgd", kwargs={"lr": 0.1}).typed().learning_rate
    0.1
    """

    name: Literal["sgd", "adam", "adamw", "rmsprop", "adagrad", "adamax", "nadam"] = "adam"
    kwargs: OptimizerKwargs = OptimizerKwargs()
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="cosine: the rate falls to zero over the phase"
    )

    @model_validator(mode="after")
    def _possible(self) -> "OptimizerSpec":
        self.typed()
        return self

    def typed(self) -> OptimizerConfig:
        """The same in the words of `etude.optim`. Raises ValueError for what that does not take."""
        given = self.kwargs
        beta1, beta2 = given.betas or (None, None)
        return OptimizerConfig(
            optimizer_type=self.name, learning_rate=given.lr, beta1=beta1, beta2=beta2,
            weight_decay=given.weight_decay or None, eps=given.eps, momentum=given.momentum,
            gradient_clip_norm=given.gradient_clip_norm,
        )  # fmt: skip

    def build(self, steps: int) -> optax.GradientTransformationExtraArgs:
        """The optax transformation, for a phase of so many updates."""
        schedule = SchedulerConfig(scheduler_type=self.schedule)
        return self.typed().build(schedule.build(self.kwargs.lr, steps))


class CriterionKwargs(Config, frozen=True):
    """Arguments of a criterion."""

    cures: ClassVar[dict[str, str]] = {
        "eps": "leave it out: log-probabilities need no floor, below which gradients would vanish"
    }

    alpha: float | None = Field(
        default=None, ge=0, le=1, description="mixed-nll: 0 is discriminative, 1 generative"
    )


class CriterionConfig(Config, frozen=True):
    """What is minimised, in nats: -log p(c|x), -log p(x|c), -log p(x,c), or the mixed one.

    >>> CriterionConfig(name="mixed-nll", kwargs={"alpha": 0.1}).kwargs.alpha
    0.1
    """

    name: Literal["negative log-likelihood", "generative-nll", "joint-nll", "mixed-nll"] = (
        "negative log-likelihood"
    )
    kwargs: CriterionKwargs = CriterionKwargs()

    @model_validator(mode="after")
    def _alpha(self) -> "CriterionConfig":
        mixed, given = self.name == "mixed-nll", self.kwargs.alpha is not None
        problems = ["mixed-nll needs kwargs.alpha, such as 0.1"] if mixed and not given else []
        problems += ["kwargs.alpha is for mixed-nll only"] if given and not mixed else []
        refuse("CriterionConfig", problems)
        return self


class _Drawing(Config, frozen=True):
    """What every way to draw samples has."""

    method: Literal["secant", "bins", "exact"] = Field(
        default="secant",
        description="differentiable along the CDF, by bins, or by its exact integral",
    )
    num_bins: int = Field(default=200, ge=2, description="points of a site's domain")

    @model_validator(mode="after")
    def _with_bins(self) -> "_Drawing":
        used, where = self.method != "exact", "with method 'secant' or 'bins'"
        refuse(type(self).__name__, idle(self, used, "num_bins", where=where))
        return self


class SamplingConfig(_Drawing, frozen=True):
    """How samples are drawn that are measured or shown.

    >>> SamplingConfig().num_spc
    1024
    """

    cures: ClassVar[dict[str, str]] = {"multinomial": "write method='bins'"}

    num_spc: int = Field(default=1024, ge=1, description="samples per class")
    batch_spc: int = Field(
        default=16, ge=1, description="samples per class drawn at once; memory is linear in it"
    )


class GameSamplingConfig(_Drawing, frozen=True):
    """How the samples are drawn that a critic sees; the machine learns through them.

    >>> GameSamplingConfig(method="exact").num_bins
    200
    """

    cures: ClassVar[dict[str, str]] = {
        "multinomial": "leave it out: samples by bins have no gradient",
        "num_spc": "leave it out: a step draws critic.discrimination.batch_size / r_real per class",
        "batch_spc": "leave it out: the samples of a step are drawn at once",
    }

    @model_validator(mode="after")
    def _differentiable(self) -> "GameSamplingConfig":
        bins = "method 'bins' has no gradient, and the machine learns through its samples: write "
        refuse(type(self).__name__, [f"{bins}'secant' or 'exact'"] if self.method == "bins" else [])
        return self


class DiscriminationConfig(Config, frozen=True):
    """Training of the critic, alone and within the game.

    >>> DiscriminationConfig().max_epoch_gan
    20
    """

    cures: ClassVar[dict[str, str]] = {
        "patience": "leave it out: the critic alone plays all of max_epoch_pre"
    }

    max_epoch_pre: int = Field(
        default=100, ge=0, description="epochs on stored samples, before the game"
    )
    max_epoch_gan: int = Field(
        default=20, ge=1, description="steps of the critic for each of the machine"
    )
    batch_size: int = Field(default=32, ge=1, description="samples of each class per step")
    optimizer: OptimizerSpec = OptimizerSpec()


class CriticConfig(Config, frozen=True):
    """A critic: a multilayer perceptron with a head that knows the class.

    >>> CriticConfig(criterion="wgan-gp").lamb
    10.0
    """

    hidden_multipliers: tuple[Positive, ...] = Field(
        default=(8.0, 8.0, 8.0, 8.0), description="widths of the layers in units of the sites"
    )
    activation: Literal["leaky_relu", "relu"] = "leaky_relu"
    negative_slope: float = Field(default=0.01, ge=0)
    head: Literal["aware", "agnostic"] = Field(
        default="aware", description="a linear head for each class, or one for all"
    )
    criterion: Literal["bce", "wgan-gp"] = "bce"
    swapped: bool = Field(
        default=True,
        description="bce: the machine minimises -log D, not log(1 - D), which saturates",
    )
    lamb: float = Field(default=10.0, ge=0, description="wgan-gp: weight of the gradient penalty")
    discrimination: DiscriminationConfig = DiscriminationConfig()

    @model_validator(mode="after")
    def _effective(self) -> "CriticConfig":
        bce, leaky = self.criterion == "bce", self.activation == "leaky_relu"
        problems = [
            *idle(self, leaky, "negative_slope", where="with activation='leaky_relu'"),
            *idle(self, bce, "swapped", where="with criterion='bce'"),
            *idle(self, not bce, "lamb", where="with criterion='wgan-gp'"),
        ]
        refuse("CriticConfig", problems)
        return self
