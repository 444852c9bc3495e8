"""A recipe that trains in no time, and a package that offers it.

Run as a script it is the `etude` command of a machine on which that package is installed.
"""

import sys
import tempfile
from pathlib import Path
from typing import Literal

sys.path.append(str(Path(__file__).parents[1]))

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from pydantic import BaseModel, ConfigDict, Field

import etude as et
from etude.cli.main import main
from etude.export import Exportable
from etude.recipe import Configuration, Recipe, Trial
from installed import with_recipes


class Optimizer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lr: float = Field(0.05, gt=0, description="learning rate")
    kind: Literal["sgd", "adam"] = Field("sgd", description="which optimizer")
    decay: float | None = Field(None, ge=0, description="weight decay")


class Tiny(Configuration):
    steps: int = Field(40, ge=1, description="steps of each phase")
    widths: tuple[int, ...] = Field((4, 4), description="widths of the layers")
    note: str = Field("none given", description="anything")
    fast: bool = Field(False, description="skip the second phase")
    repeats: int = Field(2, ge=1, le=5, description="trials")
    optimizer: Optimizer = Optimizer()


def loss(model, batch, context):
    x, y = batch
    noisy = x + 0.1 * jax.random.normal(context.key, x.shape)
    return jnp.mean((jax.vmap(model)(noisy)[:, 0] - y) ** 2)


def trials(config: Tiny):
    x = jax.random.normal(jax.random.key(7), (64, 2))
    data = et.ArrayData((x, x[:, 0] * x[:, 1]), 16)

    def trial(seed):
        def build(**options):
            model = eqx.nn.MLP(2, 1, config.widths[0], 1, key=jax.random.key(seed))
            make = {"sgd": optax.sgd, "adam": optax.adam}[config.optimizer.kind]
            learner = et.Learner(et.Gradient(loss), make(config.optimizer.lr))
            validation = et.Validation(data, every=et.Steps(10))
            phases = [
                et.Phase(name, learner, data, et.Steps(config.steps), validation)
                for name in (("first",) if config.fast else ("first", "second"))
            ]
            callbacks = [et.ModelCheckpoint(every=et.Steps(20))]
            return et.Trainer(model, phases, seed=seed, callbacks=callbacks, **options)

        def evaluate(model, split):
            return {"error": float(loss(model, (x, x[:, 0]), at)), "confusion_matrix": [[3, 1]]}

        at = et.Context.at(jax.random.key(0))
        return Trial("tiny", seed, build, evaluate)

    return [trial(config.seed + k) for k in range(config.repeats)]


def deployed(model, config, trial):
    """What is exported of the network."""

    def function(x):
        return {"y": jax.vmap(model)(x)[:, 0]}

    inputs = {"x": jax.ShapeDtypeStruct((2,), jnp.float32)}
    return Exportable(function, inputs, "two numbers", "their product")


recipe = Recipe(
    "tiny", "A tiny recipe.", Tiny, trials, {"test error": "error"}, export=deployed,
    citations=("@misc{tiny, title = {Tiny}}",),
)  # fmt: skip


def install(folder: Path) -> None:
    """Installs the package into a folder."""
    with_recipes(folder, tiny="tiny_recipe:recipe")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as place:
        install(Path(place))
        sys.exit(main())
