"""`DistributedTrainer`: the seed's trainer on several devices."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, final

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import etude as et
from etude.systems.generative.training.state import Evolving
from etude.systems.generative.training.trainer import Trainer


@final
class DistributedTrainer(Trainer):
    """A `Trainer` that spreads the samples of every batch over several devices.

    Args:
        args: those of `Trainer`.
        mesh: the devices, as of `etude.Trainer`; None: all that are visible.
        sharding: how parameters and optimizer state are spread, as of `etude.Trainer`.
        options: those of `Trainer` by name.

    Attributes:
        devices: those of the mesh.

    Raises:
        ConfigurationError: what `Trainer` raises; in training, a mesh or a sharding that does not
            fit the batches or the model.

    >>> import jax.numpy as jnp
    >>> from etude.optim import OptimizerConfig
    >>> from etude.systems import generative
    >>> model = generative.VAE.create(jax.random.key(0), (4,), latent=2, hidden=(8,))
    >>> adam = OptimizerConfig(optimizer_type="adam", learning_rate=1e-3)
    >>> config = generative.TrainingConfig(batch_size=4, num_epochs=2, optimizer=adam)
    >>> mesh = et.mesh(data=2)
    >>> trainer = DistributedTrainer(model, config, train_data_loader=jnp.ones((8, 4)), mesh=mesh)
    >>> _ = trainer.train_epoch()
    >>> trainer.global_step, len(trainer.devices)
    (2, 2)
    """

    def __init__(
        self,
        *args: Any,
        mesh: Mesh | None = None,
        sharding: et.Sharded | Mapping[str, PartitionSpec | et.Sharded] | None = None,
        **options: Any,
    ):
        super().__init__(*args, **options)
        mesh = et.mesh(data=len(jax.devices())) if mesh is None else mesh
        self.devices = list(mesh.devices.flat)
        self._passes = replace(self._passes, options={"mesh": mesh, "sharding": sharding})
        self._step = partial(_spread, mesh, self._step)


def _spread(
    mesh: Mesh, step: Callable[[Evolving, Any], Any], evolving: Evolving, batch: Any
) -> Any:
    """A step with the samples of the batch on the devices, or all on each if they are too few."""

    def put(leaf: Any) -> Any:
        parts = mesh.shape.get("data", 1)
        whole = not np.ndim(leaf) or len(leaf) % parts
        spec = PartitionSpec() if whole else PartitionSpec("data")
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return step(evolving, jax.tree.map(put, batch))
