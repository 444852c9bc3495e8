"""Simulated recordings of journal and rolling bearings, whose faults are known to the sample."""

from etude.systems.machinery.simulation.drawing import (
    Drawn as Drawn,
    Simulation as Simulation,
)
from etude.systems.machinery.simulation.journal import (
    JOURNAL_CLASSES as JOURNAL_CLASSES,
    JOURNAL_FAULTS as JOURNAL_FAULTS,
    JOURNAL_LINES as JOURNAL_LINES,
    SEVERITIES as SEVERITIES,
    JournalSimulation as JournalSimulation,
    journal_faults as journal_faults,
)
from etude.systems.machinery.simulation.rolling import (
    ROLLING_CLASSES as ROLLING_CLASSES,
    RollingSimulation as RollingSimulation,
)
from etude.systems.machinery.simulation.run import (
    Simulated as Simulated,
    simulate as simulate,
)
from etude.systems.machinery.simulation.traces import (
    Traces as Traces,
)
