"""The trainers of a Born machine: each says its phases and hands them to `etude.Trainer`."""

from etude.systems.born_machine.training.adversarial import AdversarialTrainer
from etude.systems.born_machine.training.classification import ClassificationTrainer
from etude.systems.born_machine.training.ganstyle import Game, GANStyleTrainer
from etude.systems.born_machine.training.generative import GenerativeTrainer
from etude.systems.born_machine.training.result import BornResult

__all__ = [
    "AdversarialTrainer",
    "BornResult",
    "ClassificationTrainer",
    "GANStyleTrainer",
    "Game",
    "GenerativeTrainer",
]
