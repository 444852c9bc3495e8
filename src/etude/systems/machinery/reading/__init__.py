"""Recordings from files of several laboratories, at one sample rate."""

from etude.systems.machinery.reading.files import (
    read_recording as read_recording,
    read_records as read_records,
)
from etude.systems.machinery.reading.recording import (
    Recording as Recording,
    records_of as records_of,
)
