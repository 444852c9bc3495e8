"""Gravitational waves of merging black holes, found by a contrastive encoder and spiking neurons.

Signals, noise and real strain; the networks and their three phases of training; and the measures
of the field, with a matched filter on the same injections as the ceiling. The public names are
listed in `etude.systems.gravitational_waves.api`.
"""

from typing import TYPE_CHECKING

from etude.late import names_of as _names_of

if TYPE_CHECKING:
    from etude.systems.gravitational_waves.api import *  # noqa: F403

__getattr__, __dir__ = _names_of(__name__, "etude.systems.gravitational_waves.api")
