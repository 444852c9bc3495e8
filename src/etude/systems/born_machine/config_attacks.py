"""What attacks and purification do: methods, norms, sizes, steps.

>>> EvasionConfig(norm="inf").norm
'linf'
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from etude.config import Config, refuse
from etude.systems.born_machine.config_methods import Positive, idle


class EvasionConfig(Config, frozen=True):
    """An attack and its strengths.

    >>> EvasionConfig(strengths=(0.05,), units="absolute").radius(0.05, (-1.0, 1.0))
    0.05
    >>> EvasionConfig().radius(0.1, (-1.0, 1.0))
    0.2
    """

    method: Literal["FGM", "PGD", "JOINT_PGD"] = "FGM"
    norm: Literal["linf", "l2"] = Field(
        default="linf", description="what is bounded: each site, or the length of the whole change"
    )
    strengths: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(0.1, 0.3), min_length=1)
    units: Literal["range", "absolute"] = Field(
        default="range",
        description="of the strengths: fractions of the domain's range, or its coordinates",
    )
    num_steps: int = Field(default=10, ge=1)
    step_size: Positive | None = Field(
        default=None, description="in the units of strengths; none: 2.5 strength / num_steps"
    )
    random_start: bool = True

    @model_validator(mode="before")
    @classmethod
    def _norms(cls, given: object) -> object:
        return seeds_norm(given)

    @model_validator(mode="after")
    def _effective(self) -> "EvasionConfig":
        steps = ("num_steps", "step_size", "random_start")
        many = self.method != "FGM"
        problems = idle(self, many, *steps, where="with method 'PGD' or 'JOINT_PGD'")
        refuse("EvasionConfig", problems)
        return self

    def radius(self, strength: float, domain: tuple[float, float]) -> float:
        """A strength (or step) in the coordinates of the domain."""
        return strength * (domain[1] - domain[0]) if self.units == "range" else strength


class PurificationConfig(Config, frozen=True):
    """Moving an input to where the machine finds it likelier, before it is classified by `purify`.

    >>> PurificationConfig().radius(0.1, (0.0, 2.0))
    0.2
    """

    cures: ClassVar[dict[str, str]] = {
        "radii": "leave it out, and call purify(config, ..., radius=...) for each of them"
    }

    method: Literal["likelihood", "gibbs"] = Field(
        default="likelihood", description="ascent of log p(x), or draws of every site anew"
    )
    norm: Literal["linf", "l2"] = "linf"
    num_steps: int = Field(default=20, ge=1)
    step_size: Positive | None = Field(default=None, description="none: 2.5 radius / num_steps")
    random_start: bool = False
    units: Literal["range", "absolute"] = Field(
        default="range",
        description="of radius and step: fractions of the domain's range, or its coordinates",
    )
    sweeps: int = Field(default=1, ge=1, description="Gibbs: visits of every site")
    num_bins: int = Field(default=200, ge=2, description="Gibbs: values tried for a site")

    @model_validator(mode="before")
    @classmethod
    def _norms(cls, given: object) -> object:
        return seeds_norm(given)

    @model_validator(mode="after")
    def _effective(self) -> "PurificationConfig":
        gibbs, ascent = ("sweeps", "num_bins"), ("num_steps", "step_size", "random_start")
        draws = self.method == "gibbs"
        problems = [
            *idle(self, draws, *gibbs, where="with method='gibbs'"),
            *idle(self, not draws, *ascent, where="with method='likelihood'"),
        ]
        refuse("PurificationConfig", problems)
        return self

    def radius(self, radius: float, domain: tuple[float, float]) -> float:
        """A radius (or step) in the coordinates of the domain."""
        return radius * (domain[1] - domain[0]) if self.units == "range" else radius


def seeds_norm(given: object) -> object:
    """A configuration with the seed's norms, "inf" and 2, under their names here.

    >>> seeds_norm({"norm": "inf"})
    {'norm': 'linf'}
    """
    if not isinstance(given, dict) or "norm" not in given:
        return given
    same = {"inf": "linf", float("inf"): "linf", 2: "l2", "2": "l2"}
    return {**given, "norm": same.get(given["norm"], given["norm"])}
