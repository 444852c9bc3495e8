"""What is made of each configuration of Born machines, as values that can be compared.

Parts come one by one, the cheap ones first.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from born_small import arrays, data, machine
from pydantic import ValidationError

import etude as et
from etude.systems.born_machine import (
    AdversarialTrainer,
    BornMachineConfig,
    ClassificationTrainer,
    Config,
    DataHandler,
    GANStyleTrainer,
    GenerativeTrainer,
    OptimizerSpec,
    PerformanceEvaluator,
    evade,
    purify,
)
from etude.systems.born_machine.config_methods import CriterionConfig
from etude.systems.born_machine.criteria import criterion_of
from etude.systems.born_machine.recipes import (
    capacity_recipe,
    densities_recipe,
    digits_recipe,
    fashion_recipe,
    plane_recipe,
)
from etude.systems.born_machine.recipes.verbs import drawn
from etude.training.fingerprint import fingerprint

KEY, MACHINE, DATA = jax.random.key(0), machine(), data(Config(dataset={"name": "moons_small"}))
WIDE = (-2.0, 2.0)  # four times a range of one, so that units differ
X, Y = (jnp.asarray(part[:6]) for part in DATA.splits["valid"])

FEW = {"num_spc": 6, "batch_spc": 3, "num_bins": 8}
PGD = {"method": "PGD", "num_steps": 2, "strengths": (0.1,)}
GAME = {"critic": {"hidden_multipliers": (2.0,)}, "sampling": {"num_bins": 8}}


def of_training(trainer: et.Trainer) -> Iterator[Any]:
    """Settings, callbacks, and the value of every loss at the machine that is given."""
    settings = trainer.settings
    model, context = settings.model, et.Context.at(KEY, 3, 0.3)
    yield fingerprint(settings)
    yield [(type(one).__name__, vars(one).get("every")) for one in settings.hooks.callbacks]
    yield arrays(model)
    for bound in settings.bound.values():
        phase = bound.plan.phase
        batch, _ = next(iter(phase.source.sequential()))
        rules = [learner.rule for learner in phase.turns]
        losses = [rule.loss for rule in rules if isinstance(rule, et.Gradient)]
        yield [jax.tree.leaves(loss(model, batch, context)) for loss in losses]


def trained(**parts: Any) -> Iterator[Any]:
    """Of the trainer that goes by the one part that is given."""
    (name,) = parts
    cfg, quiet = Config.model_validate({"trainer": parts}), {"progress": False}
    match name:
        case "classification":
            trainer = ClassificationTrainer(MACHINE, cfg, "pre", DATA, **quiet)
        case "generative":
            trainer = GenerativeTrainer(MACHINE, cfg, DATA, **quiet)
        case "adversarial":
            trainer = AdversarialTrainer(MACHINE, cfg, DATA, **quiet)
        case _:
            trainer = GANStyleTrainer(MACHINE, cfg, DATA, **quiet)
    return of_training(trainer.trainer())


def measured(metrics: Any, epochs: tuple[int | None, ...] = (None,), **tracking: Any) -> list[Any]:
    """What an evaluator says at some epochs."""
    train = Config.model_validate(
        {"trainer": {"ganstyle": {"metrics": {"acc": 1, **metrics}}}, "tracking": tracking}
    )
    evaluator = PerformanceEvaluator(train, DATA, train.trainer.ganstyle)
    return [evaluator.evaluate(MACHINE, "valid", epoch) for epoch in epochs]


def of_optimizer(spec: OptimizerSpec) -> list[Any]:
    """Three updates of a parameter."""
    optimizer, w = spec.build(4), jnp.ones(2)
    state, found = optimizer.init(w), list[Any]()
    for gradient in ((30.0, 1.0), (0.1, -2.0), (1.0, 1.0)):
        update, state = optimizer.update(jnp.array(gradient), state, w)
        found.append(update)
    return found


def of_arguments(kwargs: Any) -> list[Any]:
    """The updates of optimizers that take them."""
    found = list[Any]()
    for name in ("sgd", "adam", "adamw"):
        try:
            spec = OptimizerSpec.model_validate({"name": name, "kwargs": kwargs})
        except ValidationError:
            continue
        found.append(of_optimizer(spec))
    return found


def of_machine(born: Any) -> list[Any]:
    with jax.enable_x64(True):
        built = born.build(KEY, 4, 2)
        return [born.domain, str(built.dtype), *arrays(built)]


def of_data(dataset: Any) -> list[Any]:
    handler = DataHandler(dataset, (-1.0, 1.0))
    return [part for split in handler.splits.values() for part in split]


def of_recipe(recipe: Any) -> Any:
    def observe(config: Any) -> Iterator[Any]:
        trials = recipe.trials(config)
        yield [trial.name for trial in trials]
        yield from of_training(trials[0].build(progress=False))

    return observe


def all_of(cfg: Config) -> Iterator[Any]:
    yield of_data(cfg.dataset)
    yield of_machine(cfg.born)
    trainer = ClassificationTrainer(MACHINE, cfg, "pre", DATA, progress=False).trainer()
    yield fingerprint(trainer.settings)
    yield PerformanceEvaluator(cfg, DATA, cfg.trainer.ganstyle).samples(MACHINE, "valid")


def of_trainers(part: Any) -> Iterator[Any]:
    for name in type(part).model_fields:
        yield from trained(**{name: getattr(part, name)})


EVADED = lambda c: [  # noqa: E731
    evade(c, MACHINE.log_weights, X, Y, KEY, strength=s, domain=WIDE) for s in c.strengths
]
PURIFIED = lambda c: [  # noqa: E731
    purify(c, MACHINE.log_marginal, X, KEY, radius=0.2, domain=WIDE)
]

#: of each class: what is made of it, and values of its other fields with which a field counts
OBSERVED: dict[str, tuple[Any, dict[str, Any]]] = {
    "AdversarialConfig": (lambda c: trained(adversarial=c), {"evasion": PGD}),
    "BornMachineConfig": (of_machine, {}),
    "ClassificationConfig": (lambda c: trained(classification=c), {}),
    "Config": (all_of, {"dataset": {"name": "moons_small"}, "tracking": {"sampling": FEW}}),
    "CriterionConfig": (lambda c: [criterion_of(c)], {}),
    "CriterionKwargs": (
        lambda c: [
            criterion_of(CriterionConfig.model_validate({"name": "mixed-nll", "kwargs": c}))
        ],
        {"alpha": 0.5},
    ),
    "CriticConfig": (
        lambda c: trained(ganstyle={**GAME, "critic": c}),
        {"hidden_multipliers": (2.0,)},
    ),
    "DatasetConfig": (of_data, {"name": "moons_small"}),
    "DiscriminationConfig": (
        lambda c: trained(ganstyle={**GAME, "critic": {**GAME["critic"], "discrimination": c}}),
        {},
    ),
    "DrawOptions": (lambda c: list(drawn(MACHINE, c)), {"count": 4}),
    "EvasionConfig": (EVADED, PGD),
    "GANStyleConfig": (lambda c: trained(ganstyle=c), GAME),
    "GameSamplingConfig": (lambda c: trained(ganstyle={**GAME, "sampling": c}), {"num_bins": 8}),
    "GenerativeConfig": (lambda c: trained(generative=c), {}),
    "MPSInitConfig": (
        lambda c: of_machine(BornMachineConfig(init_kwargs=c)),
        {"in_dim": 3, "bond_dim": 2},
    ),
    "MetricsConfig": (
        lambda c: [*map(set, measured(c.model_dump(), (1, 2), sampling=FEW, evasion=PGD))],
        {"acc": 1},
    ),
    "OptimizerKwargs": (of_arguments, {}),
    "OptimizerSpec": (of_optimizer, {}),
    "PurificationConfig": (PURIFIED, {"num_steps": 2}),
    "SamplingConfig": (lambda c: measured({"swd": 1}, sampling=c), FEW),
    "TrackingConfig": (
        lambda c: measured({"swd": 1, "rob": 1}, **dict(c)),
        {"sampling": FEW, "evasion": PGD, "distances": 20},
    ),
    "TrainerConfig": (of_trainers, {"ganstyle": GAME, "adversarial": {"evasion": PGD}}),
    "Capacity": (
        of_recipe(capacity_recipe),
        {"data": "digits", "pictures": 20, "bond_dims": (2,), "methods": ("Adam",)},
    ),
    "Densities": (of_recipe(densities_recipe), {"in_dim": 3, "bond_dim": 2}),
    "FashionConfig": (of_recipe(fashion_recipe), {"data": "digits", "bond_dim": 2}),
    "PictureConfig": (of_recipe(digits_recipe), {"bond_dim": 2, "methods": ("classifier",)}),
    "Plane": (
        of_recipe(plane_recipe),
        {"data": ("moons_small",), "methods": ("classifier",), "in_dim": 3, "bond_dim": 2},
    ),
}
