"""A teacher and a student side by side.

>>> from etude.systems.machinery import CNN1D
>>> import jax, jax.numpy as jnp
>>> big = CNN1D(2, (8,), kernels=5, strides=4, hidden=(), key=jax.random.key(0))
>>> small = CNN1D(2, (2,), kernels=5, strides=4, hidden=(), key=jax.random.key(1))
>>> data = jax.random.normal(jax.random.key(2), (8, 64)), jnp.arange(8) % 2
>>> found = compare_teacher_student(big, small, data)
>>> found.teacher_params, found.student_params, round(found.compression_ratio, 1)
(74, 20, 3.7)
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

import etude as et
from etude.engine.leaf_roles import Role, roles
from etude.systems.machinery.training.batches import read_batch
from etude.systems.machinery.training.objective import forward, has_many_labels
from etude.systems.machinery.training.settings import TrainerSettings


@dataclass(frozen=True)
class Comparison:
    """A teacher and a student on the same data.

    Attributes:
        teacher_accuracy: share that the teacher gets right.
        student_accuracy: share that the student gets right.
        agreement: share to which both give the same class, right or wrong.
        teacher_params: numbers that were trained, or could be.
        student_params: the same of the student.
        teacher_per_class: share that the teacher gets right of each class; NaN where there is none.
        student_per_class: the same of the student.
    """

    teacher_accuracy: float
    student_accuracy: float
    agreement: float
    teacher_params: int
    student_params: int
    teacher_per_class: tuple[float, ...]
    student_per_class: tuple[float, ...]

    @property
    def accuracy_gap(self) -> float:
        """By how much the teacher is better."""
        return self.teacher_accuracy - self.student_accuracy

    @property
    def compression_ratio(self) -> float:
        """How many times fewer parameters the student has."""
        return self.teacher_params / self.student_params


def compare_teacher_student(
    teacher: Any, student: Any, test_loader: Any, *, batch_size: int | None = None
) -> Comparison:
    """How a student does beside its teacher.

    Args:
        teacher: a network, as for `CNNTrainer`.
        student: another one, of the same classes.
        test_loader: as for `CNNTrainer`; each signal has one label.
        batch_size: of windows and arrays; None: 64.

    Raises:
        ConfigurationError: networks of several labels at once, or of other numbers of classes.
    """
    owner = "compare_teacher_student"
    if has_many_labels(teacher) or has_many_labels(student):
        raise et.ConfigurationError(f"{owner}: expected networks of one class for each signal.")
    settings = TrainerSettings(batch_size=batch_size).knowing(teacher, student)

    def measure(model: Any, batch: Any, context: et.Context) -> dict[str, Any]:
        sample = read_batch(owner, batch, settings.metadata_keys)
        logits = {name: forward(one, sample, context.key)[0] for name, one in model.items()}
        if logits["teacher"].shape != logits["student"].shape:
            shapes = {name: one.shape[-1] for name, one in logits.items()}
            raise et.ConfigurationError(f"{owner}: got {shapes} classes, expected as many of both.")
        return {"counts": _Counts.of(sample.targets, logits["teacher"], logits["student"])}

    model = {"teacher": teacher, "student": student}
    found = et.evaluate(model, settings.source(owner, test_loader), measure)
    names = ("labels", "teacher", "student", "agreed")
    table = {name: np.asarray(found[f"counts/{name}"], np.float64) for name in names}
    total = table["labels"].sum()
    of_each = np.where(table["labels"] > 0, table["labels"], np.nan)
    return Comparison(
        teacher_accuracy=float(table["teacher"].sum() / total),
        student_accuracy=float(table["student"].sum() / total),
        agreement=float(table["agreed"].sum() / total),
        teacher_params=parameters(teacher),
        student_params=parameters(student),
        teacher_per_class=tuple((table["teacher"] / of_each).tolist()),
        student_per_class=tuple((table["student"] / of_each).tolist()),
    )


class _Counts(eqx.Module):
    """Per class of the labels: how many there are, and how many are right; agreement per class."""

    labels: Int[Array, " classes"]
    teacher: Int[Array, " classes"]
    student: Int[Array, " classes"]
    agreed: Int[Array, " classes"]

    @classmethod
    def of(cls, targets: Array, teacher: Array, student: Array) -> "_Counts":
        classes = teacher.shape[-1]
        label = jax.nn.one_hot(targets, classes, dtype=jnp.int32)
        said, meant = student.argmax(-1), teacher.argmax(-1)

        def counted(which: Array) -> Array:
            return jnp.sum(label * which[:, None].astype(jnp.int32), axis=0)

        return cls(
            label.sum(0),
            counted(meant == targets),
            counted(said == targets),
            counted(said == meant),
        )

    def merge(self, other: "_Counts") -> "_Counts":
        return jax.tree.map(jnp.add, self, other)

    def compute(self) -> dict[str, Array]:
        return vars(self)


def parameters(model: Any) -> int:
    """How many numbers of a model are trained, or could be.

    >>> import equinox as eqx
    >>> parameters(eqx.nn.Linear(3, 2, key=jax.random.key(0)))
    8
    """
    leaves = zip(roles(model), jax.tree.leaves(model), strict=True)
    return sum(leaf.size for role, leaf in leaves if role is Role.PARAMETER)
