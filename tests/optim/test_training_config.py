"""`TrainingConfig`, and what all configurations share."""

import json
from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from etude.optim import OptimizerConfig, SchedulerConfig, TrainingConfig
from etude.optim.registry import CATALOGUE, OptimizerName

SGD = {"optimizer_type": "sgd", "learning_rate": 1.0}
SMALL = {"batch_size": 8, "num_epochs": 2, "optimizer": SGD}


def seed_example():
    return TrainingConfig(
        name="vae_training",
        batch_size=128,
        num_epochs=100,
        optimizer=OptimizerConfig(
            name="adamw", optimizer_type="adamw", learning_rate=3e-4, weight_decay=0.01,
            gradient_clip_norm=1.0,
        ),
        scheduler=SchedulerConfig(
            name="cosine_warmup", scheduler_type="cosine", warmup_steps=1000, cycle_length=50000,
            min_lr_ratio=0.1,
        ),
        save_frequency=5000, log_frequency=100, checkpoint_dir="./checkpoints/vae",
    )  # fmt: skip


def test_json_round_trip():
    config = seed_example()
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("config", [TrainingConfig, OptimizerConfig, SchedulerConfig])
def test_the_schema_documents_every_field_and_closes_the_door(config):
    schema = json.loads(json.dumps(config.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert all(len(field["description"]) > 10 for field in schema["properties"].values())


def test_every_optimizer_name_has_an_entry():
    assert set(get_args(OptimizerName)) == set(CATALOGUE)


def test_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        seed_example().batch_size = 3


@pytest.mark.parametrize("norm", [1e-6, 1.0])
def test_gradient_clip_norm_clips(norm):
    """In an original it was accepted and never read."""
    optimizer = TrainingConfig(**SMALL, gradient_clip_norm=norm).build_optimizer()
    w = jnp.zeros(3)
    updates, _ = optimizer.update(jnp.array([3.0, 4.0, 12.0]), optimizer.init(w), w)
    np.testing.assert_allclose(jnp.linalg.norm(updates), norm, rtol=1e-5)


def test_the_schedule_is_built_for_the_run():
    config = TrainingConfig(**SMALL, scheduler={"scheduler_type": "linear"})
    optimizer = config.build_optimizer(total_steps=4)
    w = jnp.zeros(2)
    state, rates = optimizer.init(w), []
    for _ in range(5):
        _, state = optimizer.update(w, state, w)
        rates.append(float(state.hyperparams["learning_rate"]))
    assert rates == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"mixed_precision": True}, "precision='bfloat16'"),
        ({"max_grad_norm": 1.0}, "gradient_clip_norm"),
        ({"batchsize": 3}, "did you mean 'batch_size'"),
        ({"batch_size": 12.5}, "batch_size"),
        ({"precision": "float61"}, "did you mean 'float16'"),
        ({"wandb_project": "p"}, "use_wandb=True"),
        ({"optimizer": SGD | {"lr": 3.0}}, r"optimizer\.lr\n  unknown field; write learning_rate"),
        (
            {"optimizer": SGD | {"gradient_clip_norm": 2.0}, "gradient_clip_norm": 1.0},
            "keep one",
        ),
    ],
)
def test_refuses_with_the_cure(changes, cure):
    with pytest.raises(ValueError, match=cure):
        TrainingConfig(**SMALL | changes)
