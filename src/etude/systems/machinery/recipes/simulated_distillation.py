"""`machinery/simulated-distillation`: a network with a tenth of the parameters, taught or alone."""

from functools import partial
from typing import Any, Literal

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray
from pydantic import Field

import etude as et
from etude.export import Exportable
from etude.losses import DistillationLoss, cross_entropy
from etude.recipe import Recipe, Trial
from etude.systems.machinery.models import CNN1D
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.simulated_data import parts
from etude.systems.machinery.recipes.simulated_measures import (
    CEILING,
    COLUMNS,
    LICENCE,
    draw,
    measured,
)
from etude.systems.machinery.recipes.simulated_networks import (
    Sight,
    Training,
    exportable,
    scores_of,
    small_cnn,
)
from etude.systems.machinery.simulation import JOURNAL_CLASSES
from etude.systems.machinery.training import (
    CNNTrainer,
    DistillationTrainer,
    TrainerSettings,
    compare_teacher_student,
)
from etude.systems.machinery.training.comparing import parameters

Method = Literal["taught", "alone"]

_OWNER = "machinery/simulated-distillation"


class Distillation(Training, frozen=True):
    """Every choice of `machinery/simulated-distillation`."""

    methods: tuple[Method, ...] = Field(
        ("taught", "alone"), description="students: of a teacher, or of the labels alone"
    )
    channels: tuple[int, ...] = Field((8, 8, 8, 16), description="of the blocks of the student")
    kernels: tuple[int, ...] = Field((32, 9, 7, 5), description="taps of its blocks")
    strides: tuple[int, ...] = Field((8, 4, 2, 2), description="of its blocks")
    temperature: float = Field(2.0, gt=0, description="by which the scores are softened")
    learning_rate: float = Field(0.01, gt=0, description="first; falls to zero along a cosine")
    steps: int = Field(4000, ge=1, description="steps of teacher and student, as whole epochs")
    alpha: float = Field(0.7, ge=0, le=1, description="weight of the teacher beside the labels")


def trials(config: Distillation) -> list[Trial]:
    """Every student with every seed; a seed has the same records and first weights."""
    return [
        Trial(
            method,
            seed,
            partial(build, config, method, seed),
            partial(evaluate, config, seed),
            partial(model, config, method, jax.random.key(seed)),
        )
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def model(config: Distillation, method: Method, key: PRNGKeyArray) -> Any:
    """The student; with its teacher, which infers, if it has one."""
    classes, (a, b) = len(JOURNAL_CLASSES), jax.random.split(key)
    student = CNN1D(
        classes,
        config.channels,
        kernels=config.kernels,
        strides=config.strides,
        hidden=(),
        dropout=0.0,
        key=a,
    )
    if method == "alone":
        return student
    return {"teacher": eqx.nn.inference_mode(small_cnn(classes, key=b)), "student": student}


def build(config: Distillation, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; a taught student begins with the phase of its teacher."""
    train, options = parts(config, seed).train, {"seed": seed, **options}
    first, given = model(config, method, jax.random.key(seed)), config.settings(len(train))
    epochs = config.epochs(len(train))
    if method == "alone":
        return CNNTrainer(first, train, **given, **options).trainer(epochs)
    optimizer = given.pop("optimizer")
    criterion = DistillationLoss(temperature=config.temperature, alpha=config.alpha)
    distilling = DistillationTrainer(
        first["teacher"], first["student"], criterion, optimizer, **given
    )
    settings = TrainerSettings.of(_OWNER, given)
    teaching = settings.phase(
        _OWNER,
        "teach",
        _teacher_loss,
        settings.source(_OWNER, train),
        epochs,
        optimizer=optimizer,
        where=lambda both: both["teacher"],
    )
    return et.Trainer(first, [teaching, *distilling.phases(train, epochs=epochs)], **options)


def evaluate(config: Distillation, seed: int, trained: Any, split: str) -> dict[str, Any]:
    """The report of the student, its size, and how it stands to its teacher if it has one."""
    data = parts(config, seed)
    student = trained["student"] if isinstance(trained, dict) else trained
    found = measured(lambda windows: scores_of(student, windows.arrays()), data, split, seed)
    found["parameters"] = float(parameters(student))
    if isinstance(trained, dict):
        beside = compare_teacher_student(trained["teacher"], student, data.of(split))
        found |= {
            "teacher_windows": beside.teacher_accuracy,
            "agreement": beside.agreement,
            "compression": beside.compression_ratio,
        }
    return found


def export(model: Any, config: Distillation, trial: Trial) -> Exportable:
    """What the student says of windows."""
    student = model["student"] if isinstance(model, dict) else model
    return exportable(student, [Sight("cnn", parts(config, trial.seed).train)], config)


def _teacher_loss(both: Any, batch: Any, context: et.Context) -> tuple[Array, dict[str, Any], Any]:
    """The cross-entropy of the teacher, which learns now, and infers for ever after."""
    learning = eqx.nn.inference_mode(both["teacher"], value=False)
    logits, moved = learning.forward(batch["signal"], context.key)
    loss = cross_entropy(logits, batch["label"])
    return loss, {}, {**both, "teacher": eqx.nn.inference_mode(moved)}


recipe = Recipe(
    "machinery/simulated-distillation",
    "A network with a tenth of the parameters learns what a larger one thinks of the records.",
    Distillation,
    trials,
    {**COLUMNS, "parameters": "parameters"},
    draw=draw,
    export=export,
    ceiling=CEILING,
    citations=(citations.DISTILLATION, citations.CALIBRATION),
    data_licence=LICENCE,
)
