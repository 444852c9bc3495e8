"""Ground-based detectors: where they are, what they feel of a wave, and when.

>>> round(float(np.linalg.norm(H1.location - L1.location)) / SPEED_OF_LIGHT * 1e3, 2)  # ms
10.01
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

#: One value, or an array of them.
Numbers = Float64[np.ndarray, "..."] | float

SPEED_OF_LIGHT = 299_792_458.0  # m/s

# GPS seconds at which GPS - UTC grew by one second, and its value from then on.
_LEAPS = np.array([914_803_215, 1_025_136_016, 1_119_744_017, 1_167_264_018])
_GPS_MINUS_UTC = np.array([14, 15, 16, 17, 18])
_GPS_OF_J2000 = 630_763_200.0  # 2000-01-01 12:00 UTC, leap seconds not counted


@dataclass(frozen=True, eq=False)
class Detector:
    """An interferometer with two equal arms, much shorter than the wave.

    Attributes:
        name: two characters, as in the names of channels.
        location: place of the beam splitter, metres, Earth-centred Earth-fixed.
        response: the tensor (x x - y y) / 2 of the unit vectors x and y along the arms.

    >>> L1.name, L1.response.shape
    ('L1', (3, 3))
    """

    name: str
    location: Float64[np.ndarray, " xyz"]
    response: Float64[np.ndarray, "xyz xyz"]

    def antenna_pattern(
        self,
        right_ascension: Numbers,
        declination: Numbers,
        polarization: Numbers,
        gmst: Numbers = 0.0,
    ) -> tuple[Numbers, Numbers]:
        """What the detector feels of either polarisation, F_plus and F_cross.

        The strain is ``F_plus h_plus + F_cross h_cross``. Anderson et al., PRD 63, 042003 (2001),
        appendix B; the angles are those of the LIGO Algorithm Library.

        Args:
            right_ascension: right ascension of the source, rad.
            declination: declination of the source, rad.
            polarization: the angle psi, rad.
            gmst: Greenwich mean sidereal time, rad; see `gmst`.

        >>> overhead = np.arctan2(H1.location[2], np.hypot(*H1.location[:2]))
        >>> plus, cross = H1.antenna_pattern(np.arctan2(*H1.location[1::-1]), overhead, 0.3)
        >>> round(float(np.hypot(plus, cross)), 3)
        1.0
        """
        east, north, _ = _axes(right_ascension, declination, gmst)
        cos, sin = np.cos(polarization), np.sin(polarization)
        x, y = sin * north - cos * east, cos * north + sin * east
        return self._felt(x, x) - self._felt(y, y), 2 * self._felt(x, y)

    def _felt(self, a: np.ndarray, b: np.ndarray) -> Numbers:
        return np.einsum("i...,ij,j...->...", a, self.response, b)

    def delay(
        self,
        right_ascension: Numbers,
        declination: Numbers,
        gmst: Numbers = 0.0,
    ) -> Numbers:
        """Seconds after which a wave front reaches the detector, counted from the geocentre.

        >>> bool(abs(H1.delay(0.1, 0.2) - L1.delay(0.1, 0.2)) < 0.0101)
        True
        """
        _, _, towards = _axes(right_ascension, declination, gmst)
        return -np.einsum("i...,i->...", towards, self.location) / SPEED_OF_LIGHT


def gmst(gps: Numbers) -> Numbers:
    """Greenwich mean sidereal time, rad in [0, 2 pi), at a GPS time after 2006.

    The formula of 1982 (Aoki et al.), with UTC for UT1: right within 0.1 mrad.

    >>> round(float(gmst(1126259462.4)), 3)  # GW150914
    2.457
    """
    gps = np.asarray(gps, np.float64)
    utc = gps - _GPS_MINUS_UTC[np.searchsorted(_LEAPS, gps, side="right")] - _GPS_OF_J2000
    centuries = utc / (86_400 * 36_525)
    gained = centuries * (8_640_184.812866 + centuries * (0.093104 - centuries * 6.2e-6))
    seconds = 67_310.54841 + utc + gained
    return seconds % 86_400 * (2 * np.pi / 86_400)


def _axes(right_ascension, declination, gmst):
    """Unit vectors at the source: east, north, and from the Earth towards it; each [3, *n]."""
    hour, declination = np.broadcast_arrays(np.subtract(right_ascension, gmst), declination)
    cos_h, sin_h = np.cos(hour), np.sin(hour)
    cos_d, sin_d = np.cos(declination), np.sin(declination)
    east = np.stack([-sin_h, cos_h, np.zeros_like(cos_h)])
    north = np.stack([-sin_d * cos_h, -sin_d * sin_h, cos_d])
    return east, north, np.stack([cos_d * cos_h, cos_d * sin_h, sin_d])


def _detector(name: str, location: list[float], x: list[float], y: list[float]) -> Detector:
    response = (np.outer(x, x) - np.outer(y, y)) / 2
    return Detector(name, np.array(location), response)


# Positions and directions of the arms: LIGO-T980044, and the Virgo survey as in LALDetectors.h.
H1 = _detector(
    "H1",
    [-2_161_414.92636, -3_834_695.17889, 4_600_350.22664],
    [-0.22389266154, 0.79983062746, 0.55690487831],
    [-0.91397818574, 0.02609403989, -0.40492342125],
)
L1 = _detector(
    "L1",
    [-74_276.0447238, -5_496_283.71971, 3_224_257.01744],
    [-0.95457412153, -0.14158077340, -0.26218911324],
    [0.29774156894, -0.48791033647, -0.82054461286],
)
V1 = _detector(
    "V1",
    [4_546_374.09900, 842_989.697626, 4_378_576.96241],
    [-0.70045821479, 0.20848948619, 0.68256166277],
    [-0.05379255368, -0.96908180549, 0.24080451708],
)
DETECTORS = {detector.name: detector for detector in (H1, L1, V1)}
