"""What is trained, and on what: the configurations of the Born machine and of the data.

>>> DatasetConfig(name="moons_hard").noise
0.25
>>> DatasetConfig(name="mons_4k")  # doctest: +ELLIPSIS
Traceback (most recent call last):
pydantic_core._pydantic_core.ValidationError: 1 validation error for DatasetConfig
  Value error, DatasetConfig: name: got 'mons_4k', ...; did you mean 'moons_4k'? ...pydantic...
"""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Key
from pydantic import Field, model_validator

import etude as et
from etude.config import Config, near_match, refuse
from etude.data import NAMES, find
from etude.systems.born_machine.config_methods import idle
from etude.systems.born_machine.embeddings import Embedding
from etude.systems.born_machine.machine import BornMachine

#: Data sets of scikit-learn's and the field's two-dimensional shapes: size per class and noise.
TOYS: dict[str, dict[str, Any]] = {
    "moons_4k": {"size": 4000, "noise": 0.05},
    "circles_4k": {"size": 4000, "noise": 0.05},
    "spirals_4k": {"size": 4000, "noise": 0.5},
    "moons_hard": {"size": 500, "noise": 0.25},
    "circles_hard": {"size": 500, "noise": 0.2, "circ_factor": 0.5},
    "spirals_hard": {"size": 500, "noise": 1.0},
    "moons_small": {"size": 200, "noise": 0.15, "split": (0.15, 0.425, 0.425)},
    "circles_small": {"size": 200, "noise": 0.15, "split": (0.15, 0.425, 0.425)},
    "spirals_small": {"size": 200, "noise": 1.0, "split": (0.15, 0.425, 0.425)},
    "test": {"size": 200, "noise": 0.1, "split": (0.8, 0.1, 0.1)},
}
#: Data sets whose densities have a known entropy.
DENSE = ("squares", "checkerboard", "annuli", "gaussians")

#: Your own samples, which a `DataHandler` is given.
ARRAYS = "arrays"


class DatasetConfig(Config, frozen=True):
    """A data set by name; fields that are not given take what the name stands for.

    | name | what |
    |---|---|
    | moons, circles, spirals with _4k, _hard, _small; test | shapes in the plane |
    | squares, checkerboard, annuli, gaussians | densities of known entropy, in the plane |
    | digits, mnist, fashion-mnist; a folder of IDX files or an .npz file | pictures, as \
    `etude.data.load` finds them |
    | arrays | samples of your own: `DataHandler(config, domain, arrays=(x, y))` |

    Pictures keep their own test split: `split` divides the rest, so that only the ratio of its
    first two parts counts, and `size` then limits the training part alone.

    >>> DatasetConfig(name="spirals_small").split
    (0.15, 0.425, 0.425)
    """

    cures: ClassVar[dict[str, str]] = {
        "gen_dow_kwargs": "write its entries as fields of their own",
        "overwrite": "nothing is stored, so leave it out",
        "dow_link": "nothing is downloaded by link; put files below `root`",
    }

    name: str = "moons_4k"
    size: int | None = Field(
        default=4000, ge=4, description="samples per class; none: all there are (pictures, arrays)"
    )
    noise: float = Field(
        default=0.05, ge=0, description="standard deviation of the noise of moons, ..."
    )
    circ_factor: float = Field(default=0.3, gt=0, lt=1, description="radius of the inner circle")
    seed: int = Field(default=25, ge=0, lt=2**31, description="seed of the data that are drawn")
    split: tuple[float, float, float] = Field(
        default=(0.5, 0.25, 0.25), description="fractions of train, valid and test, in each class"
    )
    split_seed: int = Field(default=11, ge=0, lt=2**31)
    scaler: Literal["minmax", "binary"] = Field(
        default="minmax",
        description="minmax: linear, from the range of the training data to the embedding's "
        "domain, site by site (pictures: one map for all pixels); binary: 1 above `threshold`",
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="intensity above which a pixel is 1"
    )
    root: str | None = Field(
        default=None, description="folder of the files of pictures; none: ETUDE_DATA"
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name = given.get("name", cls.model_fields["name"].default)
        meant = {"size": None} if name == ARRAYS else {"size": None, "split": (0.8, 0.2, 0.0)}
        if name in DENSE:
            meant = {}
        return {**TOYS.get(str(name), meant), **given}

    @property
    def drawn(self) -> bool:
        """Whether the samples are drawn, from a distribution in the plane."""
        return self.name in TOYS or self.name in DENSE

    @property
    def pictures(self) -> bool:
        """Whether the samples are read by `etude.data.load`."""
        return not self.drawn and self.name != ARRAYS

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetConfig":
        problems = [*self._unknown()]
        pictures = self.pictures
        parts = self.split[:2] if pictures else self.split
        if abs(sum(self.split) - 1) > 1e-6 or min(self.split) < 0 or min(parts) == 0:
            problems.append(
                f"split {self.split} must be positive fractions that sum to 1, such as "
                "(0.5, 0.25, 0.25)"
            )
        if self.size is None and self.drawn:
            problems.append(f"{self.name} is drawn, so it needs a size: give samples per class")
        if self.scaler == "binary" and self.drawn:
            problems.append(f"{self.name} has no intensities: set scaler to 'minmax'")
        if self.name == ARRAYS and self.size is not None:
            problems.append("arrays are taken as they are: leave size out")
        kind = self.name.partition("_")[0]
        toys = "for moons, circles and spirals"
        problems += idle(self, self.name in TOYS, "noise", where=toys)
        problems += idle(self, kind == "circles", "circ_factor", where="for circles")
        problems += idle(self, self.drawn, "seed", where="for data that are drawn")
        problems += idle(self, self.scaler == "binary", "threshold", where="with scaler='binary'")
        problems += idle(self, pictures, "root", where="for pictures")
        refuse("DatasetConfig", problems)
        return self

    def _unknown(self) -> list[str]:
        """What is wrong with the name."""
        if not self.pictures or self.name in NAMES:
            return []
        try:
            find(self.name, self.root)
        except et.DataError:
            known = [*TOYS, *DENSE, *NAMES, ARRAYS]
            return [
                f"name: got {self.name!r}, expected {', '.join(known)}, a folder of IDX files or "
                f"an .npz file{near_match(self.name, known)}"
            ]
        return []


class MPSInitConfig(Config, frozen=True):
    """The shape and first values of a Born machine; sites and classes come from the data.

    >>> MPSInitConfig().bond_dim
    6
    """

    cures: ClassVar[dict[str, str]] = {
        "n_features": "leave it out: the data say how many sites there are",
        "out_dim": "leave it out: the data say how many classes there are",
        "std": "leave it out: every init_method sets its own noise, by the length of the chain",
        "boundary": "leave it out: chains are open",
    }

    in_dim: int = Field(default=10, ge=2, description="d, functions of the embedding for each site")
    bond_dim: int = Field(default=6, ge=1, description="D")
    out_position: int | None = Field(
        default=None, ge=0, description="sites before the class; none: half of them"
    )
    init_method: Literal["identity", "isometry", "gaussian"] = "identity"
    dtype: Literal["float32", "float64", "complex64", "complex128"] = "float32"


class BornMachineConfig(Config, frozen=True):
    """A Born machine.

    >>> config = BornMachineConfig(embedding="fourier", init_kwargs={"bond_dim": 4})
    >>> config.domain
    (0.0, 1.0)
    >>> import jax
    >>> machine = config.build(jax.random.key(0), sites=2, classes=3)
    >>> machine.bond_dim, machine.embedding.dim
    (4, 10)
    """

    cures: ClassVar[dict[str, str]] = {
        "model_path": "load the run: trainer.trainer().load(run), which says what does not fit"
    }

    embedding: Literal["legendre", "fourier", "hermite", "chebyshev1", "chebyshev2", "onehot"] = (
        "legendre"
    )
    init_kwargs: MPSInitConfig = MPSInitConfig()

    @property
    def domain(self) -> tuple[float, float]:
        """The range of the embedding, to which a `DataHandler` scales the data."""
        embedding = Embedding(self.embedding, self.init_kwargs.in_dim)
        return embedding.low, embedding.high

    def build(self, key: Key[Array, ""], sites: int, classes: int) -> BornMachine:
        """An untrained machine for data of that many sites and classes.

        Raises:
            ValueError: `out_position` beyond the sites.
        """
        given = self.init_kwargs
        return BornMachine.create(
            key, sites, classes, Embedding(self.embedding, given.in_dim), given.bond_dim,
            out_position=given.out_position, init=given.init_method, dtype=jnp.dtype(given.dtype),
        )  # fmt: skip
