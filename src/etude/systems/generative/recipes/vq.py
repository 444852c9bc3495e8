"""`generative/vq`: pictures as a few codes each, and a prior over the codes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
from pydantic import Field

import etude as et
from etude.data import DIGITS
from etude.export import Exportable
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.generative.plots import picture_grid
from etude.systems.generative.quantised import VQVAE, CodePrior, Quantisation
from etude.systems.generative.recipes.deployed import sampler
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.pictures import data, independent, write_samples
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["gradient", "average"]

CITATION = """@inproceedings{oord2017,
  title = {Neural discrete representation learning},
  author = {van den Oord, Aaron and Vinyals, Oriol and Kavukcuoglu, Koray},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}"""


class VQConfig(DataConfiguration, frozen=True):
    """Every choice of `generative/vq`; pictures are binarised at half of the full intensity."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        ("gradient", "average"), min_length=1, description="how the codebook learns"
    )
    positions: int = Field(4, ge=1, description="codes of a picture")
    codes: int = Field(16, ge=2, description="vectors of the codebook")
    width: int = Field(4, ge=1, description="components of a vector")
    hidden: tuple[int, ...] = Field((256,), description="widths of the encoder's layers")
    commitment: float = Field(0.25, ge=0, description="weight of what the encoder is charged")
    decay: float = Field(0.99, ge=0, lt=1, description="of the averages (average)")
    batch: int = Field(64, ge=2, description="pictures per step")
    epochs: int = Field(150, ge=1, description="passes over the training pictures, in each phase")
    rate: float = Field(1e-3, gt=0, description="learning rate (Adam), falls along a cosine")


def trials(config: VQConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def untrained(config: VQConfig, method: Method, seed: int, /) -> VQVAE:
    """The model of a method before its training."""
    return VQVAE.create(
        jax.random.key(seed),
        data(config.data, config.root).train.x.shape[1:],
        positions=config.positions,
        codes=config.codes,
        width=config.width,
        hidden=config.hidden,
        average=method == "average",
    )


def build(config: VQConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial: first the codes, then their prior; each keeps its best."""
    found = data(config.data, config.root)
    train = et.ArrayData(found.train, config.batch)
    assert found.valid is not None
    steps = train.steps_per_epoch * config.epochs

    def phase(name: str, loss: Any, where: Any) -> et.Phase:
        adam = optax.adam(optax.cosine_decay_schedule(config.rate, steps))
        valid = et.ArrayData(found.valid, len(found.valid.y))
        return et.Phase(
            name,
            et.Learner(et.Gradient(loss), adam, where=where),
            train,
            et.Epochs(config.epochs),
            et.Validation(valid, loss, every=et.Epochs(5)),
            keep=et.Best("valid/loss"),
        )

    codes = phase(
        "codes",
        Quantisation(config.commitment, config.decay if method == "average" else None),
        lambda m: (m.encoder, m.decoder, m.codebook),
    )
    phases = [codes, phase("prior", CodePrior(), lambda m: m.prior)]
    return et.Trainer(untrained(config, method, seed), phases, seed=seed, **options)


def evaluate(config: VQConfig, seed: int, model: VQVAE, split: str) -> dict[str, Any]:
    """The bound of -log p(x) in nats per picture, its parts, and how many codes are in use."""
    found = data(config.data, config.root)
    chosen = getattr(found, split)
    parts = [
        jax.device_get(_measured(model, chosen.x[start : start + 250]))
        for start in range(0, len(chosen.y), 250)
    ]
    bound, prior, codes = (np.concatenate(values) for values in zip(*parts, strict=True))
    share = np.bincount(codes.ravel(), minlength=config.codes) / codes.size
    entropy = -np.sum(share[share > 0] * np.log(share[share > 0]))
    return {
        "bound": -float(bound.mean()),
        "prior": -float(prior.mean()),
        "perplexity": float(np.exp(entropy)),
        "independent": independent(found, split),
    }


@jax.jit
def _measured(model: VQVAE, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    codes = model.codes(x)
    return model.log_bound(x), model.log_prior(codes), codes


def draw(config: VQConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Samples of the first of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            model: VQVAE = outcome.model()
            pictures = np.asarray(model.sample(jax.random.key(config.seed), 64, noise=False))
            name = outcome.trial.method
            picture_grid(pictures, name).savefig(folder / f"samples-{name}.png", dpi=110)


class CodeOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> CodeOptions(temperature=0.5).temperature
    0.5
    """

    temperature: float = Field(1.0, gt=0, description="of the codes; below 1, likelier ones")
    noise: bool = Field(False, description="draw pixels, rather than show their probabilities")


def sample(model: VQVAE, config: VQConfig, inputs: Sequence[str], options: CodeOptions) -> Table:
    """Writes `samples.npy`, and `samples.png` of pictures."""
    key, count = jax.random.key(options.seed), options.count
    x = model.sample(key, count, temperature=options.temperature, noise=options.noise)
    return write_samples(np.asarray(x), None, options.out)


def export(model: VQVAE, config: VQConfig, trial: Trial) -> Exportable:
    """Samples, as the probabilities of their pixels."""
    return sampler(
        lambda key, _: model.sample(key, 1, noise=False), "pictures: the probability of each pixel"
    )


recipe = Recipe(
    "generative/vq",
    "Binarised pictures as a few codes each, with an autoregressive prior over the codes.",
    VQConfig,
    trials,
    {
        "test -log p, bound": "bound",
        "of the codes": "prior",
        "codes in use": "perplexity",
        "independent pixels": "independent",
    },
    draw=draw,
    sample=Verb("samples of the model", "", CodeOptions, sample),
    export=export,
    ceiling="Nats per picture, lower is better; the entropy of the pictures is not known.",
    citations=(CITATION, DIGITS.citation),
    data_licence=DIGITS.licence,
)
