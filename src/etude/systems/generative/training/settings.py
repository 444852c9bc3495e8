"""What a trainer's arguments mean, or why they cannot be meant."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from etude.systems.generative.training.callbacks import BaseCallback
from etude.systems.generative.training.config import TrainingConfig


def arrays_of(batch: Any) -> Any:
    """A batch with arrays for leaves. Raises `DataError` for what is none."""
    leaves = jax.tree.leaves(batch)
    if not leaves or not all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        raise et.DataError(
            "A batch is an array, a tuple or a dictionary of arrays, as {'images': x, 'labels': "
            f"y}}; got {type(batch).__name__}."
        )
    return jax.tree.map(jnp.asarray, batch)


def seed_of(rng: Any) -> int:
    """31 bits of a key, typed or raw; an integer is a seed itself."""
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool):
        return int(rng)
    if not isinstance(rng, jax.Array):
        raise et.ConfigurationError(
            f"Trainer: rng is a key of JAX, or an integer; got {type(rng).__name__}. Pass "
            "jax.random.key(0)."
        )
    return int(jax.random.bits(rng, dtype=jnp.uint32)) >> 1


def optimizer_of(
    config: TrainingConfig, optimizer: optax.GradientTransformation | None, total: int | None
) -> optax.GradientTransformationExtraArgs:
    if optimizer is None:
        return config.build_optimizer(total)
    norm = config.gradient_clip_norm
    parts = [] if norm is None else [optax.clip_by_global_norm(norm)]
    return optax.with_extra_args_support(optax.chain(*parts, optimizer))


def save_interval_of(config: TrainingConfig, save_interval: int | None) -> int:
    given = {save_interval, config.save_frequency} - {None}
    if len(given) == 2:
        raise et.ConfigurationError(
            f"Trainer: save_interval is {save_interval} and the save_frequency of the "
            f"configuration {config.save_frequency}. Keep one."
        )
    interval = given.pop() if given else 1000
    assert interval is not None
    if interval < 1:
        raise et.ConfigurationError(f"Trainer: save_interval is at least 1; got {interval}.")
    return interval


def checkpoints_of(
    config: TrainingConfig,
    workdir: str | Path | None,
    checkpoint_dir: str | Path | None,
    save_interval: int | None,
) -> Path | None:
    """Where checkpoints are made by themselves; None where nobody asked for any."""
    given = checkpoint_dir if checkpoint_dir is not None else config.checkpoint_dir
    if None not in (checkpoint_dir, config.checkpoint_dir) and Path(given) != config.checkpoint_dir:  # type: ignore[arg-type]
        raise et.ConfigurationError(
            f"Trainer: checkpoint_dir is {str(checkpoint_dir)!r} and that of the configuration "
            f"{str(config.checkpoint_dir)!r}. Keep one."
        )
    if given is not None or workdir is not None:
        return Path(given if given is not None else workdir)  # type: ignore[arg-type]
    asked = save_interval is not None or config.save_frequency is not None
    return Path("checkpoints") if asked else None


def parted(
    callbacks: Sequence[Any],
) -> tuple[list[BaseCallback], list[et.Callback]]:
    """Those of the seed, and those of the engine."""
    strangers = [one for one in callbacks if not isinstance(one, BaseCallback | et.Callback)]
    if strangers:
        raise et.ConfigurationError(
            f"callbacks: {strangers[0]!r} is neither a BaseCallback nor an etude.Callback."
        )
    ours = [one for one in callbacks if isinstance(one, BaseCallback)]
    return ours, [one for one in callbacks if isinstance(one, et.Callback)]
