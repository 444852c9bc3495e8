"""Searches and how they are judged: the matched filter and sliding networks over long streams,
triggers and their false-alarm rates from time slides, efficiency, sensitive distance and ROC.
"""

from etude.systems.gravitational_waves.pipeline.background import (
    HOUR,
    MONTH,
    Background,
    lags,
    slid,
)
from etude.systems.gravitational_waves.pipeline.coincidence import (
    H1_L1_WINDOW,
    Coincidences,
    coincidences,
    slide_background,
)
from etude.systems.gravitational_waves.pipeline.intervals import Estimate, binomial_interval
from etude.systems.gravitational_waves.pipeline.matched_filter import (
    DetectorTriggers,
    MatchedFilter,
)
from etude.systems.gravitational_waves.pipeline.network import Sliding, Statistic
from etude.systems.gravitational_waves.pipeline.plots import (
    plot_detection,
    plot_distance,
    plot_efficiency,
    plot_roc,
)
from etude.systems.gravitational_waves.pipeline.roc import (
    ROC,
    auc,
    block_auc,
    delong,
    roc,
    tpr_at_fpr,
)
from etude.systems.gravitational_waves.pipeline.sensitivity import (
    Efficiency,
    chirp_volumes,
    efficiency,
    sensitive_distance,
    sensitive_volume,
    uniform_volumes,
)
from etude.systems.gravitational_waves.pipeline.templates import (
    TemplateBank,
    fitting_factors,
    template_bank,
)
from etude.systems.gravitational_waves.pipeline.timing import Timing, calibrate, centres
from etude.systems.gravitational_waves.pipeline.triggers import (
    Triggers,
    away_from,
    cluster,
    loudest_near,
    merged,
)

__all__ = [
    "H1_L1_WINDOW",
    "HOUR",
    "MONTH",
    "ROC",
    "Background",
    "Coincidences",
    "DetectorTriggers",
    "Efficiency",
    "Estimate",
    "MatchedFilter",
    "Sliding",
    "Statistic",
    "TemplateBank",
    "Timing",
    "Triggers",
    "auc",
    "away_from",
    "binomial_interval",
    "block_auc",
    "calibrate",
    "centres",
    "chirp_volumes",
    "cluster",
    "coincidences",
    "delong",
    "efficiency",
    "fitting_factors",
    "lags",
    "loudest_near",
    "merged",
    "plot_detection",
    "plot_distance",
    "plot_efficiency",
    "plot_roc",
    "roc",
    "sensitive_distance",
    "sensitive_volume",
    "slid",
    "slide_background",
    "template_bank",
    "tpr_at_fpr",
    "uniform_volumes",
]
