"""Journal bearings: the numbers of Sommerfeld and Reynolds, and what they say of the oil film.

>>> bearing = JournalBearing(radius=0.015, clearance=20e-6, length=0.015)
>>> s = bearing.sommerfeld(viscosity=0.03, speed=60.0, load=500.0)
>>> round(s, 3), LUBRICATION[int(lubrication_regime(s))]
(0.911, 'mixed')
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

import etude as et
from etude.systems.machinery.quantities import Quantity, check_positive

#: Regimes of lubrication, from the thinnest film to the thickest.
LUBRICATION = ("boundary", "mixed", "hydrodynamic")

#: Sommerfeld numbers at which one regime passes into the next: a rule of thumb of the order of
#: magnitude, for the roughness of the surfaces decides as well.
LUBRICATION_LIMITS = (0.1, 1.0)

#: Regimes of flow in the film.
FLOW = ("laminar", "transitional", "turbulent")

_TURBULENT = 2000.0  # Reynolds number of a film that is turbulent throughout


@dataclass(frozen=True)
class JournalBearing:
    """A plain bearing: a shaft that turns in a bush, on a film of oil.

    Attributes:
        radius: m, of the shaft.
        clearance: m, radius of the bush minus that of the shaft.
        length: m, along the shaft.

    Raises:
        DataError: a length that is not above 0, or a clearance above a tenth of the radius.
    """

    radius: float
    clearance: float
    length: float

    def __post_init__(self):
        check_positive(
            "JournalBearing", radius=self.radius, clearance=self.clearance, length=self.length
        )
        if self.clearance > self.radius / 10:
            raise et.DataError(
                f"JournalBearing: got clearance={self.clearance:g} m for radius={self.radius:g} m, "
                "expected about a thousandth of it. Give all lengths in m."
            )

    def sommerfeld(self, viscosity: Quantity, speed: Quantity, load: Quantity) -> Quantity:
        """Sommerfeld number (viscosity speed / pressure) (radius / clearance)^2.

        The pressure is the load over the projected area 2 radius length. Large for a light load,
        a fast shaft and a thick oil: for a thick film.

        Args:
            viscosity: dynamic viscosity of the oil, Pa s.
            speed: revolutions per second, Hz.
            load: N.

        Raises:
            DataError: one that is not above 0.
        """
        check_positive("sommerfeld", viscosity=viscosity, speed=speed, load=load)
        pressure = load / (2 * self.radius * self.length)
        return viscosity * speed / pressure * (self.radius / self.clearance) ** 2

    def reynolds(self, viscosity: Quantity, speed: Quantity, density: Quantity = 850.0) -> Quantity:
        """Reynolds number of the film, density omega radius clearance / viscosity.

        Args:
            viscosity: dynamic viscosity of the oil, Pa s.
            speed: revolutions per second, Hz.
            density: of the oil, kg / m^3.

        Raises:
            DataError: one that is not above 0.

        >>> bearing = JournalBearing(radius=0.015, clearance=20e-6, length=0.015)
        >>> round(bearing.reynolds(viscosity=0.03, speed=60.0), 2)
        3.2
        """
        check_positive("reynolds", viscosity=viscosity, speed=speed, density=density)
        surface = 2 * np.pi * speed * self.radius
        return density * surface * self.clearance / viscosity

    def flow_regime(self, reynolds: Quantity) -> Int[np.ndarray, "..."] | Int[Array, "..."]:
        """Index into `FLOW`, of the shape of the Reynolds number.

        Taylor vortices form at 41.2 sqrt(radius / clearance) (G. I. Taylor, Phil. Trans. R. Soc. A
        223 (1923) 289); above 2000 the film is turbulent. The limits of 2000 and 4000 that are
        found in some programs are those of a pipe.

        >>> JournalBearing(radius=0.015, clearance=20e-6, length=0.015).flow_regime(1500.0)
        array(1)
        """
        vortices = 41.2 * (self.radius / self.clearance) ** 0.5
        return _regime(reynolds, (vortices, max(_TURBULENT, vortices)))


def lubrication_regime(sommerfeld: Quantity) -> Int[np.ndarray, "..."] | Int[Array, "..."]:
    """Index into `LUBRICATION`, of the shape of the Sommerfeld number; see `LUBRICATION_LIMITS`.

    >>> lubrication_regime(np.array([0.05, 0.5, 5.0]))
    array([0, 1, 2])
    """
    return _regime(sommerfeld, LUBRICATION_LIMITS)


def _regime(
    value: Quantity, limits: tuple[float, float]
) -> Int[np.ndarray, "..."] | Int[Array, "..."]:
    """How many of the limits the value reaches."""
    if isinstance(value, jax.Array):
        return jnp.searchsorted(jnp.asarray(limits, value.dtype), value, side="right")
    return np.asarray(np.searchsorted(np.asarray(limits), value, side="right"))
