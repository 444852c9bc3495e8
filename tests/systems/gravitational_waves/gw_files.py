"""The files of GW150914, where this machine has them."""

import os
from pathlib import Path

import pytest

from etude.systems.gravitational_waves import Strain, read_strain

GPS = 1126259446.0


def path_of(detector: str) -> Path:
    """The 32 s at 4096 Hz of GWOSC, or a skipped test."""
    beside = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("ETUDE_DATA", beside)) / "gw150914"
    path = folder / f"{detector[0]}-{detector}_LOSC_4_V2-1126259446-32.hdf5"
    if not path.is_file():
        pytest.skip(f"{path.name} is not on this machine; set ETUDE_DATA to the folder of gw150914")
    return path


def strain_of(detector: str, sample_rate: float = 4096.0) -> Strain:
    return read_strain(path_of(detector), sample_rate=sample_rate)
