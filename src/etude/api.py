"""The public names of `etude`: one explicit list."""

from etude.adapters import (
    Linen as Linen,
    TorchModule as TorchModule,
    linen as linen,
    torch_module as torch_module,
)
from etude.callbacks import (
    Callback as Callback,
    CSVLogger as CSVLogger,
    EarlyStopping as EarlyStopping,
    Exchange as Exchange,
    GradientMonitor as GradientMonitor,
    LearningRateMonitor as LearningRateMonitor,
    LivePlot as LivePlot,
    MLflowLogger as MLflowLogger,
    ModelCheckpoint as ModelCheckpoint,
    Profiler as Profiler,
    Progress as Progress,
    Reason as Reason,
    Save as Save,
    Selection as Selection,
    Show as Show,
    Stop as Stop,
    TensorBoardLogger as TensorBoardLogger,
    Timing as Timing,
    TrackioLogger as TrackioLogger,
    WandbLogger as WandbLogger,
)
from etude.catalogue import load_export as load_export, load_run as load_run
from etude.data import (
    AccessData as AccessData,
    ArrayData as ArrayData,
    Blocks as Blocks,
    StreamData as StreamData,
    Together as Together,
    Turns as Turns,
    load as load,
)
from etude.engine.criteria import (
    AtLeast as AtLeast,
    AtMost as AtMost,
    Best as Best,
    Fallen as Fallen,
)
from etude.engine.evaluation import Evaluation as Evaluation, evaluate as evaluate
from etude.engine.leaf_roles import Carry as Carry, Fixed as Fixed
from etude.engine.learner import Learner as Learner
from etude.engine.mesh import mesh as mesh
from etude.engine.phase import (
    Epochs as Epochs,
    Phase as Phase,
    Rescue as Rescue,
    Seconds as Seconds,
    Steps as Steps,
    Validation as Validation,
)
from etude.engine.precision import Precision as Precision, widened as widened
from etude.engine.rule import (
    Context as Context,
    Gradient as Gradient,
    Proposal as Proposal,
    Rule as Rule,
)
from etude.engine.sharding import Sharded as Sharded
from etude.engine.source import Source as Source
from etude.engine.step import Plan as Plan, init_state as init_state, train_step as train_step
from etude.errors import (
    CheckpointError as CheckpointError,
    ColumnError as ColumnError,
    ConfigurationError as ConfigurationError,
    DataError as DataError,
    EtudeError as EtudeError,
    LockedError as LockedError,
    ModelError as ModelError,
    NonFiniteError as NonFiniteError,
    OutOfMemoryError as OutOfMemoryError,
    ProcessLostError as ProcessLostError,
    ResumeError as ResumeError,
    RuleError as RuleError,
    RunError as RunError,
    RunLostError as RunLostError,
    UsageError as UsageError,
)
from etude.export import load_weights as load_weights, save_weights as save_weights
from etude.population import MemberResult as MemberResult, Population as Population
from etude.trainer import NonFinite as NonFinite, Result as Result, Trainer as Trainer
from etude.training.signals import Interrupted as Interrupted
from etude.training_config import TrainingConfig as TrainingConfig
