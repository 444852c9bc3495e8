"""Losses by physics: what a class should show, as a penalty of its probability."""

from etude.systems.machinery.losses.constraint import (
    PhysicalConstraintLoss as PhysicalConstraintLoss,
    PhysicsInformedLoss as PhysicsInformedLoss,
)
from etude.systems.machinery.losses.expectations import (
    Expected as Expected,
)
from etude.systems.machinery.losses.frequency import (
    FrequencyConsistencyLoss as FrequencyConsistencyLoss,
    expected_penalty as expected_penalty,
)
from etude.systems.machinery.losses.operating import (
    SommerfeldConsistencyLoss as SommerfeldConsistencyLoss,
)
from etude.systems.machinery.losses.smoothness import (
    TemporalSmoothnessLoss as TemporalSmoothnessLoss,
)
