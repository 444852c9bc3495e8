"""Where a trainer stands: what moves, the place in the data, and checkpoints of both."""

from pathlib import Path
from typing import final

import etude as et
from etude.callbacks import Event
from etude.systems.generative.training import checkpoints
from etude.systems.generative.training.state import Evolving


@final
class Standing:
    """What a trainer goes on from.

    Args:
        begun: what moves, before the first step.
        seed: of the training.
        steps: batches of an epoch, where they are known.

    Attributes:
        evolving: what moves, as the last step or the last whole epoch has left it.
        epoch: epochs that are done.
        position: batches of the next one that are done.
        best_loss: the least of a validation at a checkpoint.
        last_loss: of the last validation, if no step came after it.
        start: steps before the training that the engine runs.
        moving: the last event of that training; None while there is none.
    """

    def __init__(self, begun: Evolving, seed: int, steps: int | None):
        self.evolving, self.seed, self.steps = begun, seed, steps
        self.epoch, self.position = 0, 0
        self.best_loss, self.last_loss = float("inf"), None
        self.moving: Event | None = None
        self.start = 0

    @property
    def now(self) -> Evolving:
        """What moves, also while the engine moves it."""
        return self.evolving if self.moving is None else self.moving.model()

    @property
    def step(self) -> int:
        """Steps done."""
        return (
            int(self.evolving.step) if self.moving is None else self.start + self.moving.global_step
        )

    @property
    def place(self) -> int:
        """Batches of the epoch that are done."""
        return self.position + (0 if self.moving is None else self.moving.step)

    def begin(self, steps: int) -> None:
        """Before epochs of so many batches.

        Raises `ConfigurationError` in the midst of an epoch of another length.
        """
        if self.position and steps != self.steps:
            raise et.ConfigurationError(
                f"Trainer: it stands after batch {self.position} of {self.steps} of an epoch, "
                f"and these data have {steps}. End it first with train_epoch() on its own data."
            )
        self.steps = steps
        if self.position == steps:  # saved at the last step of an epoch
            self.epoch, self.position = self.epoch + 1, 0

    def passed(self, event: Event, *, whole: bool) -> None:
        """An epoch is over, or interrupted."""
        # Nothing moves until the next epoch begins: what saves now saves the beginning of that.
        self.evolving, self.moving = event.model(), None
        self.position = 0 if whole else self.position + event.step
        self.epoch += whole

    def moved(self, evolving: Evolving, expected: int) -> None:
        """After steps. Raises `RuleError` for a `_train_step` that does not count its steps."""
        if int(evolving.step) != expected:
            raise et.RuleError(
                f"_train_step: the step in its state is {int(evolving.step)}, and {expected} were "
                'made. Return "step": state["step"] + 1, which random numbers go by.'
            )
        self.evolving = evolving

    def save(self, path: Path, model: str, keep: int | None) -> None:
        """Writes a checkpoint, as `checkpoints.save` does; `model` describes the model."""
        if self.last_loss is not None:
            self.best_loss = min(self.best_loss, self.last_loss)
        meta = {
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.place,
            "steps_per_epoch": self.steps,
            "model": model,
            "best_loss": None if self.best_loss == float("inf") else self.best_loss,
        }
        checkpoints.save(path, self.now, meta, keep)

    def load(self, path: Path, model: str, here: int | None) -> None:
        """Goes to a checkpoint; `here` are the batches of the training data.

        Raises `CheckpointError` if there is none, or one that cannot be gone on with.
        """
        evolving, meta = checkpoints.load(path, self.evolving)
        checkpoints.refuse_other(meta["model"], model)
        steps = meta["steps_per_epoch"]
        if meta["position"] and here is not None and here != steps:
            raise et.CheckpointError(
                f"load_checkpoint: it was saved after batch {meta['position']} of {steps} of an "
                f"epoch, and train_data_loader has {here}. Pass the same data and batch size."
            )
        self.evolving, self.steps = evolving, steps
        self.seed, self.epoch, self.position = meta["seed"], meta["epoch"], meta["position"]
        best = meta["best_loss"]
        self.best_loss, self.last_loss = float("inf") if best is None else best, None
