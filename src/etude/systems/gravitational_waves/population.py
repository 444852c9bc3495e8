"""Populations of compact binaries: what is injected.

>>> binaries = Population().draw(np.random.default_rng(0), 3)
>>> len(binaries), bool(np.all(binaries.mass_1 >= binaries.mass_2))
(3, True)
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int

from etude.errors import suggest

#: One value for all binaries, or one for each.
Values = Float64[np.ndarray, " n"] | float

#: Chirp mass of two neutron stars of 1.4 solar masses, to which chirp distances refer.
CHIRP_MASS_OF_NEUTRON_STARS = 2.8 * 0.25**0.6


@dataclass(frozen=True, eq=False)
class Parameters:
    """Binaries on circular orbits, spins along the orbital axis; one array [n] for each parameter.

    Attributes:
        mass_1: solar masses, as seen in the detector frame; the heavier one comes first.
        mass_2: solar masses, in the detector frame.
        spin_1z: dimensionless spin along the orbital axis, -1..1.
        spin_2z: the same of the lighter one.
        distance: luminosity distance, Mpc.
        inclination: angle between the orbital axis and the line of sight, rad.
        phase: orbital phase at 20 Hz, rad.
        right_ascension: right ascension, rad.
        declination: declination, rad.
        polarization: the angle psi, rad.

    Raises:
        ValueError: arrays of different lengths, or values that are no binary.

    >>> pair = Parameters.of(mass_1=36.0, mass_2=np.array([29.0, 20.0]))
    >>> pair.chirp_mass.round(2).tolist(), len(pair[:1])
    ([28.1, 23.16], 1)
    """

    mass_1: Float64[np.ndarray, " n"]
    mass_2: Float64[np.ndarray, " n"]
    spin_1z: Float64[np.ndarray, " n"]
    spin_2z: Float64[np.ndarray, " n"]
    distance: Float64[np.ndarray, " n"]
    inclination: Float64[np.ndarray, " n"]
    phase: Float64[np.ndarray, " n"]
    right_ascension: Float64[np.ndarray, " n"]
    declination: Float64[np.ndarray, " n"]
    polarization: Float64[np.ndarray, " n"]

    def __post_init__(self):
        columns = self.columns()
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Parameters: one length for all expected; got {lengths}.")
        for name, column in columns.items():
            if not np.all(np.isfinite(column)):
                raise ValueError(f"Parameters: {name} holds values that are not finite.")
        if np.any(self.mass_2 <= 0) or np.any(self.mass_1 < self.mass_2):
            raise ValueError(
                "Parameters: expected mass_1 >= mass_2 > 0; sort the two masses of each binary."
            )
        if np.any(self.distance <= 0):
            raise ValueError("Parameters: distance must be positive, in Mpc.")
        for name in ("spin_1z", "spin_2z"):
            if np.any(np.abs(columns[name]) > 1):
                raise ValueError(f"Parameters: {name} must be within -1..1.")

    @classmethod
    def of(
        cls, mass_1: Values, mass_2: Values, distance: Values = 100.0, **others: Values
    ) -> Parameters:
        """From numbers or arrays, which are broadcast; what is not given is zero.

        >>> Parameters.of(1.4, 1.4, inclination=np.array([0.0, 1.5])).distance.tolist()
        [100.0, 100.0]
        """
        given = {"mass_1": mass_1, "mass_2": mass_2, "distance": distance, **others}
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise ValueError(f"Parameters: unknown parameter {name!r}. {suggest(name, names)}")
        values = [np.atleast_1d(np.asarray(given.get(name, 0.0), np.float64)) for name in names]
        return cls(*np.broadcast_arrays(*values))

    @property
    def chirp_mass(self) -> Float64[np.ndarray, " n"]:
        """(m1 m2)^(3/5) / (m1 + m2)^(1/5), solar masses in the detector frame."""
        return (self.mass_1 * self.mass_2) ** 0.6 / (self.mass_1 + self.mass_2) ** 0.2

    def columns(self) -> dict[str, Float64[np.ndarray, " n"]]:
        """The parameters by name, in order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def at(self, distance: Float64[np.ndarray, " n"]) -> Parameters:
        """The same binaries at other distances, Mpc."""
        return replace(self, distance=distance)

    def __len__(self) -> int:
        return len(self.mass_1)

    def __getitem__(self, index: slice | Int[np.ndarray, " k"] | np.ndarray) -> Parameters:
        """Some of the binaries, by a slice, indices or a mask."""
        return Parameters(**{name: column[index] for name, column in self.columns().items()})


@dataclass(frozen=True)
class Population:
    """Binaries everywhere and in all orientations, uniform in space.

    Attributes:
        masses: the range of either component mass, uniform, solar masses in the detector frame.
        maximal_spin: spins along the orbital axis are uniform in ± this; 0 is without spin.
        distances: the range of distances, Mpc; binaries are uniform in the volume between.
        distance: what `distances` bounds: the "luminosity" distance, or the "chirp" distance at
            which two neutron stars would be as loud, as in the challenge MLGWSC-1. The same
            number of binaries then lies at each loudness, whatever their mass.

    Raises:
        ValueError: a range that is empty or negative, or spins above 1.

    >>> far = Population(distances=(1000.0, 2000.0), distance="luminosity")
    >>> bool(np.all(far.draw(np.random.default_rng(0), 100).distance > 1000))
    True
    """

    masses: tuple[float, float] = (5.0, 50.0)
    maximal_spin: float = 0.9
    distances: tuple[float, float] = (130.0, 350.0)
    distance: Literal["luminosity", "chirp"] = "chirp"

    def __post_init__(self):
        for name, (low, high) in {"masses": self.masses, "distances": self.distances}.items():
            if not 0 < low <= high:
                raise ValueError(f"Population: {name}={(low, high)}; expected 0 < low <= high.")
        if not 0 <= self.maximal_spin <= 1:
            raise ValueError(f"Population: maximal_spin={self.maximal_spin}; expected 0..1.")
        if self.distance not in ("luminosity", "chirp"):
            raise ValueError(
                f"Population: distance={self.distance!r}; expected 'luminosity' or 'chirp'."
            )

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """`n` independent binaries.

        >>> population = Population(maximal_spin=0.0)
        >>> bool(np.all(population.draw(np.random.default_rng(1), 2).spin_1z == 0))
        True
        """
        masses = np.sort(rng.uniform(*self.masses, (2, n)), axis=0)
        spins = self.maximal_spin * rng.uniform(-1, 1, (2, n))
        near, far = np.power(self.distances, 3)
        drawn = Parameters(
            mass_1=masses[1],
            mass_2=masses[0],
            spin_1z=spins[0],
            spin_2z=spins[1],
            distance=np.cbrt(rng.uniform(near, far, n)),
            inclination=np.arccos(rng.uniform(-1, 1, n)),
            phase=rng.uniform(0, 2 * np.pi, n),
            right_ascension=rng.uniform(0, 2 * np.pi, n),
            declination=np.arcsin(rng.uniform(-1, 1, n)),
            polarization=rng.uniform(0, np.pi, n),
        )
        if self.distance == "luminosity":
            return drawn
        louder = (drawn.chirp_mass / CHIRP_MASS_OF_NEUTRON_STARS) ** (5 / 6)
        return drawn.at(drawn.distance * louder)
