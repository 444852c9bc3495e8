"""A learner: a rule, the part of the model it trains, and the optimizer of its updates."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from etude.engine.compiled import Compiled
from etude.engine.numbers import is_count, is_real
from etude.engine.precision import Precision
from etude.engine.rule import Rule
from etude.errors import ConfigurationError, suggest

Optimizer = optax.GradientTransformation
Probe = Callable[[PyTree, PyTree], Mapping[str, Array]]


@dataclass(frozen=True)
class Learner:
    """A rule and what it trains.

    Attributes:
        rule: computes the updates; `Gradient(loss)` is the usual one.
        optimizer: optax transformation of the updates, or a function that makes one of the
            numbers of the phase: `lambda hyper: optax.adam(hyper["rate"])`. None: the rule itself
            supplies the new values of its part, in `Proposal.model` (a sweep, an EM step, a
            replacement).
        where: the part of the model that learns, `lambda model: model.encoder`; all, if None.
        name: prefix of its metrics where a phase has several learners.
        repeat: turns per step, on the same batch with fresh randomness at each.
        accumulate: the batch is computed in this many micro-batches, in the memory of one.
        clip_norm: largest global norm of the updates.
        clip_value: largest absolute value of an update.
        project: `project(part) -> part`, applied after every update: clipped weights, unit norms.
            It gets what `where` selects, with None for what is not trained.
        ema: decay of an exponential moving average of the part, used in validation on request; or
            a function of the updates made that gives it, as `etude.optim.WarmingDecay(0.999)`.
        precision: of the forward and backward pass: under "bfloat16" and "float16" the rule gets
            the parameters and the inputs of the batch in it. What is stored stays as it is.
        inputs: the part of a batch that is input, `lambda batch: batch["x"]`. None: the first of
            a tuple or list; of a lone array or a dictionary nothing, so that targets are never
            cast.
        watch: the metric, of those it reports at a step, that its optimizer is told as `value`,
            which a plateau schedule goes by. None: its "loss", if it reports one.

    Raises `ConfigurationError` for values outside their range.

    >>> from etude import Gradient
    >>> Learner(Gradient(lambda model, batch, context: 0.0), optax.sgd(0.1), repeat=2).repeat
    2
    """

    rule: Rule
    optimizer: Optimizer | Callable[[Any], Optimizer] | None = None
    where: Callable[[Any], Any] | None = None
    name: str = ""
    repeat: int = 1
    accumulate: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    project: Callable[[Any], Any] | None = None
    ema: float | Callable[[Array], Any] | None = None
    precision: Precision = "float32"
    inputs: Callable[[Any], Any] | None = None
    watch: str | None = None
    # Not a setting: programs that were compiled for phases of this learner.
    compiled: Compiled = field(default_factory=Compiled, init=False, repr=False, compare=False)

    def __post_init__(self):
        problems = [*_no_rule(self.rule)]
        if self.project is not None and not callable(self.project):
            problems.append(f"project is a function of the part, or None; got {self.project!r}")
        for name in ("repeat", "accumulate"):
            if not is_count(value := getattr(self, name)):
                problems.append(f"{name} must be a whole number from 1; got {value!r}")
        for name in ("clip_norm", "clip_value"):
            value = getattr(self, name)
            if value is not None and not (is_real(value) and value > 0):
                problems.append(f"{name} must be positive, or None for no clipping; got {value!r}")
        problems += _no_decay(self.ema)
        if not (isinstance(self.optimizer, optax.GradientTransformation | None) or self.varies):
            problems.append(
                f"optimizer must be a transformation of optax; got {self.optimizer!r}. Call its "
                "maker: optax.adam(1e-3)"
            )
        if self.precision not in get_args(Precision):
            cure = suggest(str(self.precision), get_args(Precision))
            problems.append(f"precision {self.precision!r} is unknown. {cure.removesuffix('.')}")
        if self.optimizer is None and (self.accumulate != 1 or self.clip_norm or self.clip_value):
            problems.append(
                "accumulate, clip_norm and clip_value act on updates; this learner has no "
                "optimizer to give them to. Pass optimizer=optax.sgd(...)"
            )
        if not self.varies:
            problems += self._untold(self.optimizer)
        if problems:
            found = "; ".join(problems)
            raise ConfigurationError(
                f"{self.title}: {found}" + ("" if found.endswith("?") else ".")
            )

    @property
    def called(self) -> str:
        """How a message names it: "learner 'critic'", or "the learner" where it has no name."""
        return f"learner {self.name!r}" if self.name else "the learner"

    @property
    def title(self) -> str:
        """The same at the beginning of a sentence."""
        return self.called[0].upper() + self.called[1:]

    @property
    def varies(self) -> bool:
        """Whether the optimizer is a function of the numbers of the phase."""
        maker = self.optimizer
        # `optax.adam` itself is a maker that was not called.
        of_optax = (getattr(maker, "__module__", None) or "").split(".")[0] == "optax"
        return callable(maker) and not of_optax

    def optimizer_of(self, hyper: Any) -> Optimizer | None:
        """The optimizer under these numbers of the phase.

        Raises `ConfigurationError` if a function of them makes something else.
        """
        if not self.varies:
            return cast(Optimizer | None, self.optimizer)
        try:
            made = cast(Callable[[Any], Any], self.optimizer)(hyper)
        except Exception as error:
            raise ConfigurationError(
                f"{self.title}: the optimizer as a function of the numbers of the phase fails: "
                f"{type(error).__name__}: {error}. It gets Phase(hyper=...), which is "
                f"{eqx.tree_pformat(hyper)} here; the numbers are traced, so choose between two "
                "with jnp.where."
            ) from error
        if not isinstance(made, optax.GradientTransformation):
            raise ConfigurationError(
                f"{self.title}: the optimizer as a function of the numbers of the phase "
                f"must return a transformation of optax; got {made!r}. Return it: "
                'lambda hyper: optax.adam(hyper["rate"]).'
            )
        if problems := self._untold(made):
            raise ConfigurationError(f"{self.title}: {problems[0]}.")
        return made

    def _untold(self, optimizer: Any) -> list[str]:
        takes_values = isinstance(optimizer, optax.GradientTransformationExtraArgs)
        if self.watch is None or takes_values:
            return []
        return [
            f"watch={self.watch!r} is told to the optimizer, and this one takes no value. "
            "Leave watch out, or pass an optimizer such as optax.adam(schedule)"
        ]


def _no_decay(ema: Any):
    """What is wrong with the decay of an average, or with the first one of a function."""
    if ema is None:
        return
    first, called = ema, repr(ema)
    if callable(ema):
        value = np.asarray(ema(jnp.int32(0)))
        called = f"a function whose first value is {value}"
        first = value.item() if value.ndim == 0 else math.nan
    if not (is_real(first) and 0 <= first < 1):
        yield f"ema is a decay in [0, 1), such as 0.999, or a function that gives it; got {called}"


def _no_rule(rule: Any):
    """What is wrong with something that cannot be called as a rule, a bare loss above all."""
    if not callable(rule):
        yield f"rule must be callable, as Gradient(loss) is; got {rule!r}"
        return
    try:
        signature = inspect.signature(rule)
    except ValueError:  # some built-in functions have none
        return
    try:
        signature.bind("trainable", "rest", "batch", "context")
    except TypeError:
        name = getattr(rule, "__name__", type(rule).__name__)
        yield (
            f"a rule takes (trainable, rest, batch, context); got {name}{signature}. Wrap a loss, "
            "which takes (model, batch, context): Learner(Gradient(loss), ...)"
        )
