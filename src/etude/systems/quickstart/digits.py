"""`digits-two-phase`: does pre-training without labels help where labels are few?

Three phases over one network: the encoder and a projector learn from all training images, without
a label; then the head alone from a few labelled ones, the encoder frozen; then both. Beside it the
same network from scratch: the same labels, optimizer, augmentation, number of labelled steps and
choice of the best validation.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from pydantic import Field

import etude as et
from etude.data import DIGITS, NUMERALS
from etude.export import Exportable
from etude.metrics import ConfusionMatrix
from etude.predictions import FILES, PictureOptions, class_table, in_parts, read_intensities
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.quickstart.data import digits
from etude.systems.quickstart.losses import SIDE, augment_labelled, classification, info_nce
from etude.systems.quickstart.model import Network
from etude.table import Table
from etude.verbs import Verb

PRETRAINED, SCRATCH = "pre-trained", "from scratch"

#: of the pre-training
SIMCLR = """@inproceedings{chen2020simple,
  author = {Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  title = {A Simple Framework for Contrastive Learning of Visual Representations},
  booktitle = {International Conference on Machine Learning},
  year = {2020}
}"""


class Digits(Configuration, frozen=True):
    """Every choice of the experiment."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    labels: int | None = Field(
        100, ge=50, le=1130, description="labelled training images; none is all 1149"
    )
    width: int = Field(128, ge=1, description="width of the encoder's hidden layers")
    features: int = Field(64, ge=1, description="outputs of the encoder")
    pretrain_epochs: int = Field(150, ge=1, description="epochs without labels")
    pretrain_batch: int = Field(128, ge=2, le=1149, description="images per contrastive step")
    pretrain_rate: float = Field(2e-3, gt=0, description="learning rate without labels")
    head_steps: int = Field(300, ge=1, description="steps of the head on the frozen encoder")
    head_rate: float = Field(1e-2, gt=0, description="learning rate of the head")
    tune_steps: int = Field(300, ge=1, description="steps of the encoder and head together")
    tune_rate: float = Field(3e-4, gt=0, description="learning rate of both, pre-trained")
    scratch_rate: float = Field(1e-3, gt=0, description="learning rate from scratch")
    batch: int = Field(50, ge=1, le=50, description="labelled images per step")


def trials(config: Digits) -> list[Trial]:
    """Both methods with each seed; a seed has the same labels and first weights in both."""
    return [
        Trial(method, seed, partial(trainer, config, method, seed), evaluate)
        for method in (PRETRAINED, SCRATCH)
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def trainer(config: Digits, method: str, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial."""
    phases = [*_pretraining(config, seed)] if method == PRETRAINED else []
    rate = config.tune_rate if phases else config.scratch_rate
    # From scratch, the steps of the head count too, so that both see as many labelled batches.
    steps = config.tune_steps if phases else config.head_steps + config.tune_steps
    phases.append(_tuning(config, seed, rate, steps))
    return et.Trainer(_untrained(config, seed), phases, seed=seed, **options)


def evaluate(model: Network, split: str) -> dict[str, Any]:
    """Accuracy and confusion matrix on a split."""
    data = digits()[split]
    source = et.ArrayData((data.images, data.labels), len(data.labels), classes=10)
    matrix = _counted(model, source)["confusion_matrix"]
    return {
        "accuracy": float(np.trace(matrix) / np.sum(matrix)),
        "confusion_matrix": matrix,
    }


def _confusion(model: Network, batch: tuple[Array, Array], context: et.Context) -> dict[str, Any]:
    images, labels = batch
    counted = ConfusionMatrix.empty(10).update(model.logits(images), labels)
    return {"confusion_matrix": counted}


_counted = et.Evaluation(_confusion)


def predict(
    model: Network, config: Digits, inputs: Sequence[str], options: PictureOptions
) -> Table:
    """Probabilities of the ten digits: the softmax of the logits."""
    names, x = read_intensities(inputs, (SIDE, SIDE), options)
    found = in_parts(lambda x: jax.nn.softmax(model.logits(x)), x.reshape(len(x), -1))
    return class_table(names, found, NUMERALS)


def export(model: Network, config: Digits, trial: Trial) -> Exportable:
    """Probabilities of pictures."""

    def probabilities(x: Array) -> Array:
        return jax.nn.softmax(model.logits(x.reshape(x.shape[0], SIDE * SIDE)))

    return Exportable(
        probabilities,
        {"pictures": jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32)},
        "pictures of digits, light on dark, with intensities from 0 to 1",
        "probabilities of the digits",
        "No step is missing. Divide levels by the largest of their kind, as 16 or 255, before.",
        NUMERALS,
    )


def draw(config: Digits, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The test images as the encoder sees them, before and after training: two main axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.decomposition import PCA

    data, trained = digits()["test"], outcomes[0]
    models = {
        "before": _untrained(config, trained.trial.seed),
        f"after, {trained.trial.method}": trained.model(),
    }
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, model) in zip(figure.subplots(1, 2), models.items(), strict=True):
        embedded = np.asarray(model.embed(jnp.asarray(data.images)))
        points = PCA(2).fit_transform(embedded)
        shown = axes.scatter(*points.T, c=data.labels, cmap="tab10", s=9, vmin=-0.5, vmax=9.5)
        axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=figure.axes, ticks=range(10), label="class")
    figure.savefig(folder / "embedding.png", dpi=140)


def _pretraining(config: Digits, seed: int) -> list[et.Phase]:
    images = et.ArrayData(digits()["train"].images, config.pretrain_batch, drop_last=True)
    steps = config.pretrain_epochs * images.steps_per_epoch
    without_labels = et.Learner(
        et.Gradient(info_nce),
        optax.adamw(optax.cosine_decay_schedule(config.pretrain_rate, steps), weight_decay=1e-4),
        where=lambda model: (model.encoder, model.projector),
    )
    head = et.Learner(
        et.Gradient(classification),
        optax.adamw(config.head_rate, weight_decay=1e-2),
        where=lambda model: model.head,
    )
    return [
        et.Phase("pretrain", without_labels, images, et.Epochs(config.pretrain_epochs)),
        et.Phase(
            "head", head, _labelled(config, seed), et.Steps(config.head_steps),
            augment=augment_labelled,
        ),
    ]  # fmt: skip


def _tuning(config: Digits, seed: int, rate: float, steps: int) -> et.Phase:
    valid = digits()["valid"]
    both = et.Learner(
        et.Gradient(classification),
        optax.adamw(rate, weight_decay=1e-2),
        where=lambda model: (model.encoder, model.head),
    )
    return et.Phase(
        "tune",
        both,
        _labelled(config, seed),
        et.Steps(steps),
        validation=et.Validation(
            et.ArrayData((valid.images, valid.labels), 288), every=et.Steps(50)
        ),
        augment=augment_labelled,
        keep=et.Best("valid/accuracy", mode="max"),
    )


def _labelled(config: Digits, seed: int) -> et.ArrayData:
    subset = digits()["train"].labelled(config.labels, seed)
    return et.ArrayData((subset.images, subset.labels), config.batch, classes=10)


def _untrained(config: Digits, seed: int) -> Network:
    # Compiled as a whole: operation by operation the random weights take a second.
    return eqx.filter_jit(Network)(jax.random.key(seed), config.width, config.features)


recipe = Recipe(
    "digits-two-phase",
    "Self-supervised pre-training on scikit-learn's digits, then a classifier on few labels.",
    Digits,
    trials,
    {"test accuracy": "accuracy"},
    draw=draw,
    predict=Verb("probabilities of the ten digits of pictures", FILES, PictureOptions, predict),
    export=export,
    ceiling="Accuracy: 1; one of the 360 test pictures is .0028 of it.",
    citations=(SIMCLR, DIGITS.citation),
    data_licence=DIGITS.licence,
)
