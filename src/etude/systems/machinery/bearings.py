"""Rolling-element bearings: how often each part is struck, in units of the shaft's speed.

A fault on a part sends an impulse each time that it is rolled over. With n rollers of diameter
d on a pitch circle of diameter D, contact angle b and r = d cos(b) / D, per revolution of the
shaft, for a fixed outer race and rolling without slip:

    FTF  = (1 - r) / 2              the cage (fundamental train frequency)
    BPFO = n (1 - r) / 2            rollers over a point of the outer race
    BPFI = n (1 + r) / 2            rollers over a point of the inner race
    BSF  = D / (2 d) (1 - r**2)     a roller about its own axis; it strikes both races in a turn

R. B. Randall and J. Antoni, Mech. Syst. Signal Process. 25 (2011) 485, section 2.

>>> bearing = BEARINGS["SKF 6205-2RS"]
>>> frequencies = bearing.orders.frequencies(1797 / 60)  # Hz, at 1797 revolutions per minute
>>> round(frequencies.bpfo, 1), round(frequencies.bpfi, 1)
(107.4, 162.2)
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import etude as et
from etude.errors import suggest
from etude.systems.machinery.quantities import Quantity, check_positive

#: How far the frequencies of a real bearing lie from the formulas, as a fraction: rollers slip.
SLIP = 0.02

_MOST_ROLLERS = 100  # more come of frequencies in Hz

#: Names of the characteristic frequencies, in the order of `Orders`.
CHARACTERISTIC = ("FTF", "BPFO", "BPFI", "BSF")


class Frequencies(NamedTuple):
    """Characteristic frequencies in Hz, each of the shape of the speed."""

    ftf: Quantity
    bpfo: Quantity
    bpfi: Quantity
    bsf: Quantity


@dataclass(frozen=True)
class Orders:
    """Characteristic frequencies per revolution of the shaft, as makers of bearings list them.

    Attributes:
        ftf: turns of the cage.
        bpfo: rollers that pass a point of the outer race.
        bpfi: rollers that pass a point of the inner race.
        bsf: turns of a roller about its axis. Some tables list twice as much under "rolling
            element": a fault of a roller strikes the outer and the inner race in each turn.

    Raises:
        DataError: orders that no bearing has. BPFO and BPFI add up to the number of rollers, the
            FTF is BPFO over that number, and the cage turns at less than half the shaft's speed:
            0.59 instead of 0.41 is the speed of the cage relative to the inner race, which some
            files call FTF.

    >>> Orders(ftf=0.39828, bpfo=3.5848, bpfi=5.4152, bsf=2.3567).rollers
    9
    """

    ftf: float
    bpfo: float
    bpfi: float
    bsf: float

    def __post_init__(self):
        check_positive("Orders", ftf=self.ftf, bpfo=self.bpfo, bpfi=self.bpfi, bsf=self.bsf)
        total = self.bpfo + self.bpfi
        whole = 3 <= self.rollers <= _MOST_ROLLERS and abs(total - self.rollers) < 0.02
        if self.bpfo >= self.bpfi or not whole:
            raise et.DataError(
                f"Orders: got bpfo={self.bpfo:g} and bpfi={self.bpfi:g}; expected bpfo < bpfi, "
                "which together are the number of rollers. Are they in Hz? Divide them by the "
                "speed of the shaft in Hz. Are they exchanged?"
            )
        cage = self.bpfo / self.rollers
        if abs(self.ftf - cage) > 0.01 * cage:
            raise et.DataError(
                f"Orders: got ftf={self.ftf:g}, expected {cage:.4f}, BPFO over the {self.rollers} "
                f"rollers. ({1 - cage:.4f} is the cage relative to the inner race.)"
            )

    @classmethod
    def of_passes(cls, bpfo: float, bpfi: float, bsf: float) -> "Orders":
        """Orders whose FTF follows from BPFO and BPFI, where a file's own cannot be trusted.

        >>> Orders.of_passes(bpfo=3.245, bpfi=4.755, bsf=2.556).ftf
        0.405625
        """
        check_positive("Orders", bpfo=bpfo, bpfi=bpfi, bsf=bsf)
        return cls(bpfo / max(round(bpfo + bpfi), 1), bpfo, bpfi, bsf)

    @property
    def rollers(self) -> int:
        """Number of rollers."""
        return round(self.bpfo + self.bpfi)

    def frequencies(self, speed: Quantity) -> Frequencies:
        """Characteristic frequencies in Hz of a shaft that turns at `speed` Hz.

        Raises DataError for a speed that is not above 0: a shaft that stands has none.
        """
        check_positive("Orders.frequencies", speed=speed)
        return Frequencies(*(order * speed for order in self))

    def __iter__(self):
        return iter((self.ftf, self.bpfo, self.bpfi, self.bsf))


@dataclass(frozen=True)
class Geometry:
    """The shape of a rolling-element bearing; lengths in any one unit.

    Attributes:
        rollers: number of balls or rollers in one row.
        roller_diameter: diameter of a roller.
        pitch_diameter: diameter of the circle on which their centres lie.
        contact_angle: degrees, 0 for a radial bearing.

    Raises:
        DataError: no such bearing: fewer than 3 rollers, rollers that overlap, an angle outside
            0 to 90 degrees.

    >>> Geometry(rollers=9, roller_diameter=7.94, pitch_diameter=39.04).orders.bpfi.__round__(3)
    5.415
    """

    rollers: int
    roller_diameter: float
    pitch_diameter: float
    contact_angle: float = 0.0

    def __post_init__(self):
        check_positive(
            "Geometry",
            roller_diameter=self.roller_diameter,
            pitch_diameter=self.pitch_diameter,
        )
        if self.rollers < 3:
            raise et.DataError(f"Geometry: got rollers={self.rollers}, expected 3 or more.")
        if not 0 <= self.contact_angle < 90:
            raise et.DataError(
                f"Geometry: got contact_angle={self.contact_angle:g}, expected degrees in 0..90."
            )
        room = self.pitch_diameter * math.sin(math.pi / self.rollers)
        if self.roller_diameter > room:
            raise et.DataError(
                f"Geometry: {self.rollers} rollers of diameter {self.roller_diameter:g} overlap on "
                f"a pitch circle of diameter {self.pitch_diameter:g}; expected at most {room:.4g}. "
                "Give both in one unit, and diameters rather than radii."
            )

    @property
    def orders(self) -> Orders:
        """Characteristic frequencies per revolution of the shaft, without slip."""
        ratio = self.roller_diameter / self.pitch_diameter
        r = ratio * math.cos(math.radians(self.contact_angle))
        cage = (1 - r) / 2
        return Orders(
            ftf=cage,
            bpfo=self.rollers * cage,
            bpfi=self.rollers * (1 + r) / 2,
            bsf=(1 - r**2) / (2 * ratio),
        )


@dataclass(frozen=True)
class Bearing:
    """A type of bearing: its orders, and where they come from.

    >>> Bearing("mine", Geometry(8, 6.75, 28.55).orders, "measured").orders.rollers
    8
    """

    name: str
    orders: Orders
    source: str


#: Bearings of public recordings, by name.
BEARINGS = {
    bearing.name: bearing
    for bearing in (
        Bearing(
            "SKF 6205-2RS",
            # The maker's table lists 4.7135 for the rolling element, twice the BSF.
            Orders(ftf=0.39828, bpfo=3.5848, bpfi=5.4152, bsf=4.7135 / 2),
            "drive end of the test rig of Case Western Reserve University, its table of defect "
            "frequencies",
        ),
        Bearing(
            "NICE",
            Geometry(rollers=8, roller_diameter=0.235, pitch_diameter=1.245).orders,
            "test rig of the Society for Machinery Failure Prevention Technology (MFPT), "
            "diameters in inches",
        ),
        Bearing(
            "6203",
            Geometry(rollers=8, roller_diameter=6.75, pitch_diameter=28.55).orders,
            "C. Lessmeier et al., European Conference of the PHM Society 2016 (Paderborn), "
            "diameters in mm",
        ),
    )
}


def bearing(name: str) -> Bearing:
    """A bearing of the catalogue; DataError for a name that is not in it.

    >>> bearing("6203").orders.rollers
    8
    """
    if name not in BEARINGS:
        raise et.DataError(f"There is no bearing {name!r}. {suggest(name, BEARINGS)}")
    return BEARINGS[name]


def with_slip(frequency: Quantity, slip: float = SLIP) -> tuple[Quantity, Quantity]:
    """The lowest and highest frequency at which a line may lie, in the unit of `frequency`.

    Raises DataError for a slip outside 0..0.2: so much is no slip.

    >>> with_slip(100.0)
    (98.0, 102.0)
    """
    if not (np.isfinite(slip) and 0 <= slip <= 0.2):
        raise et.DataError(f"with_slip: got slip={slip}, expected a fraction in 0..0.2, as 0.02.")
    return frequency * (1 - slip), frequency * (1 + slip)
