"""Which optimizers have a name, and what each of them can be told."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import optax

OptimizerName = Literal[
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw",
    "adan", "ademamix", "amsgrad", "lamb", "lars", "lion", "muon", "nadam", "nadamw", "radam",
    "rmsprop", "sgd", "sm3", "yogi",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One optimizer: its optax factory and how our fields are called there.

    `decay` is optax's name for a weight decay that the algorithm itself defines, `mask` that of
    its mask. Where `decay` is None the decoupled form is added behind the optimizer. A field in
    `instead` is refused with that cure.
    """

    factory: Callable[..., optax.GradientTransformation]
    arguments: Mapping[str, str]
    decay: str | None = None
    mask: str = "mask"
    instead: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of `OptimizerConfig`, beyond the common ones, that this optimizer takes.

        >>> CATALOGUE["lion"].fields
        ('beta1', 'beta2', 'weight_decay')
        """
        decay = () if "weight_decay" in self.instead else ("weight_decay",)
        return (*self.arguments, *decay)

    @property
    def own_decay(self) -> float:
        """The weight decay that optax gives this optimizer unless told.

        >>> CATALOGUE["adamw"].own_decay, CATALOGUE["lamb"].own_decay, CATALOGUE["sgd"].own_decay
        (0.0001, 0.0, 0.0)
        """
        if self.decay is None:
            return 0.0
        return inspect.signature(self.factory).parameters[self.decay].default

    def direction(
        self, weight_decay: float | None, mask: Any, settings: Mapping[str, Any]
    ) -> optax.GradientTransformation:
        """The descent direction for a learning rate of one, weight decay included."""
        arguments = {self.arguments[name]: value for name, value in settings.items()}
        if self.decay is None:
            extra = optax.add_decayed_weights(-(weight_decay or 0.0), mask=mask)
            return optax.chain(self.factory(1.0, **arguments), extra)
        if weight_decay is not None:
            arguments[self.decay] = weight_decay
        return self.factory(1.0, **arguments, **{self.mask: mask})


_BETAS = {"beta1": "b1", "beta2": "b2"}
_ADAM = {**_BETAS, "eps": "eps"}
_TRACE = {"momentum": "momentum", "nesterov": "nesterov"}


def _use(decoupled: str, nesterov: str | None = None) -> dict[str, str]:
    cures = {"weight_decay": f"use optimizer_type='{decoupled}', which decouples the decay"}
    return cures | ({"nesterov": f"use optimizer_type='{nesterov}'"} if nesterov else {})


CATALOGUE: dict[OptimizerName, Entry] = {
    "adabelief": Entry(optax.adabelief, _ADAM),
    "adadelta": Entry(optax.adadelta, {"eps": "eps"}),
    # optax's own decay for Adafactor is not multiplied by the learning rate; the added one is.
    "adafactor": Entry(optax.adafactor, {"eps": "eps", "momentum": "momentum"}),
    "adagrad": Entry(optax.adagrad, {"eps": "eps"}),
    "adam": Entry(optax.adam, _ADAM, instead=_use("adamw", nesterov="nadam")),
    "adamax": Entry(optax.adamax, _ADAM, instead=_use("adamaxw")),
    "adamaxw": Entry(optax.adamaxw, _ADAM, "weight_decay"),
    "adamw": Entry(
        optax.adamw, _ADAM, "weight_decay", instead={"nesterov": "use optimizer_type='nadamw'"}
    ),
    "adan": Entry(optax.adan, _ADAM, "weight_decay"),
    "ademamix": Entry(optax.contrib.ademamix, _ADAM, "weight_decay"),
    "amsgrad": Entry(optax.amsgrad, _ADAM),
    "lamb": Entry(optax.lamb, _ADAM, "weight_decay"),
    # The LARS paper puts the decay inside the trust ratio, and so does optax.
    "lars": Entry(optax.lars, {**_TRACE, "eps": "eps"}, "weight_decay", "weight_decay_mask"),
    "lion": Entry(optax.lion, _BETAS, "weight_decay"),
    "muon": Entry(
        optax.contrib.muon,
        {"momentum": "beta", "nesterov": "nesterov", "eps": "eps", "beta1": "adam_b1"}
        | {"beta2": "adam_b2"},
        "weight_decay",
        "weight_decay_mask",
    ),
    "nadam": Entry(optax.nadam, _ADAM, instead=_use("nadamw")),
    "nadamw": Entry(optax.nadamw, _ADAM, "weight_decay"),
    "radam": Entry(optax.radam, _ADAM),
    "rmsprop": Entry(optax.rmsprop, {"beta2": "decay", "eps": "eps", **_TRACE}),
    "sgd": Entry(optax.sgd, _TRACE),
    "sm3": Entry(optax.sm3, {"momentum": "momentum"}),
    "yogi": Entry(optax.yogi, _ADAM),
}
