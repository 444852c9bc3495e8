"""Lightning's `Trainer.fit`: as it comes, and with everything switched off.

Only the steps count: what `fit` does before its first and after its last epoch is left out.
"""

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks import in_torch
from benchmarks.problems import Problem


class Defaults:
    """Progress bar, logger, checkpoints; the loss logged to the bar, as tutorials do."""

    log = True
    now = staticmethod(time.perf_counter)

    def __init__(self, problem: Problem):
        import torch

        logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
        torch.manual_seed(0)
        self.module = _module(problem, self.log)
        self.data = in_torch.loader(problem)

    def options(self) -> dict[str, Any]:
        """The arguments of the Trainer beside the number of epochs."""
        return {}

    def train(self, epochs: int) -> tuple[float, float]:
        import lightning

        clock = _clock(self.now)
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            trainer = lightning.Trainer(
                max_epochs=epochs,
                accelerator="cpu",
                callbacks=[clock],
                default_root_dir=folder,
                **self.options(),
            )
            trainer.fit(self.module, self.data)
        return clock.seconds, self.module.mean()


class Bare(Defaults):
    """No bar, no logger, no checkpoints, no summary, nothing logged."""

    log = False

    def options(self) -> dict[str, Any]:
        return {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }


def _module(problem: Problem, log: bool) -> Any:
    import lightning
    import torch

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = in_torch.network(problem)
            self.loss = torch.nn.CrossEntropyLoss()
            self.values: list[Any] = []

        def on_train_epoch_start(self):
            self.values = []

        def training_step(self, batch, index):
            x, y = batch
            value = self.loss(self.network(x), y)
            if log:
                self.log("loss", value, prog_bar=True)
            self.values.append(value.detach())
            return value

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=problem.learning_rate)

        def mean(self) -> float:
            return float(sum(self.values) / len(self.values))

    return Classifier()


def _clock(now: Callable[[], float]) -> Any:
    import lightning

    class Clock(lightning.Callback):
        begin = seconds = 0.0

        def on_train_epoch_start(self, trainer, module):
            self.begin = self.begin or now()

        def on_train_epoch_end(self, trainer, module):
            self.seconds = now() - self.begin

    return Clock()
