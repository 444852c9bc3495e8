"""Optimizers and learning-rate schedules as typed configurations, built into optax.

`OptimizerConfig` and `SchedulerConfig` are frozen pydantic models that refuse unknown and
contradictory settings, say the cure, and export a JSON schema. `build` turns them into an
`optax.GradientTransformation` and a schedule. Schedules count optimizer updates. A whole training
as data is `etude.TrainingConfig`.

>>> config = OptimizerConfig(optimizer_type="adamw", learning_rate=1e-3)
>>> optimizer = config.build(SchedulerConfig(scheduler_type="cosine").build(1e-3, total_steps=100))
"""

from etude.config import Config as Config

from .averaging import WarmingDecay as WarmingDecay
from .decay import decay_mask as decay_mask
from .factories import (
    create_adamw_optimizer as create_adamw_optimizer,
    create_cosine_scheduler as create_cosine_scheduler,
    create_cosine_warmrestarts_scheduler as create_cosine_warmrestarts_scheduler,
    create_exponential_scheduler as create_exponential_scheduler,
    create_noam_schedule as create_noam_schedule,
    create_onecycle_scheduler as create_onecycle_scheduler,
    create_optimizer as create_optimizer,
    create_plateau_scheduler as create_plateau_scheduler,
    create_polynomial_scheduler as create_polynomial_scheduler,
    create_rmsprop_optimizer as create_rmsprop_optimizer,
    create_scheduler as create_scheduler,
    create_sgd_optimizer as create_sgd_optimizer,
    create_step_scheduler as create_step_scheduler,
    create_warmup_cosine_schedule as create_warmup_cosine_schedule,
    create_warmup_linear_schedule as create_warmup_linear_schedule,
    get_scheduler as get_scheduler,
)
from .optimizer import OptimizerConfig as OptimizerConfig
from .plateau import ReduceOnPlateau as ReduceOnPlateau
from .scheduler import SchedulerConfig as SchedulerConfig
from .shapes import with_warmup as with_warmup
