"""`TrainingConfig`: the training that it builds, and what it refuses."""

import contextlib
import functools
import json
import tempfile
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from problems import blobs, cross_entropy, mlp, same
from pydantic import ValidationError

import etude as et
from etude.callbacks import CSVLogger, WandbLogger
from etude.optim import OptimizerConfig, SchedulerConfig, decay_mask
from etude.optim.registry import CATALOGUE, OptimizerName
from fields import Change, check_field, fields_of

SGD = {"optimizer_type": "sgd", "learning_rate": 1.0}
SMALL = {"batch_size": 8, "num_epochs": 2, "optimizer": SGD}


def seed_example():
    return et.TrainingConfig(
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
    assert et.TrainingConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("config", [et.TrainingConfig, OptimizerConfig, SchedulerConfig])
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
    optimizer = et.TrainingConfig(**SMALL, gradient_clip_norm=norm).build_optimizer()
    w = jnp.zeros(3)
    updates, _ = optimizer.update(jnp.array([3.0, 4.0, 12.0]), optimizer.init(w), w)
    np.testing.assert_allclose(jnp.linalg.norm(updates), norm, rtol=1e-5)


def test_the_schedule_is_built_for_the_run():
    config = et.TrainingConfig(**SMALL, scheduler={"scheduler_type": "linear"})
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
        ({"save_frequency": 10}, "save_frequency is set, but no checkpoint .* set checkpoint_dir"),
        ({"max_checkpoints": 2}, "max_checkpoints is set, but no checkpoint is written"),
        ({"log_frequency": 10}, "nothing is logged: set use_wandb=True, or checkpoint_dir"),
        ({"workdir": "x"}, "write checkpoint_dir"),
        ({"optimizer": SGD | {"lr": 3.0}}, r"optimizer\.lr\n  unknown field; write learning_rate"),
        (
            {"optimizer": SGD | {"gradient_clip_norm": 2.0}, "gradient_clip_norm": 1.0},
            "keep one",
        ),
    ],
)
def test_refuses_with_the_cure(changes, cure):
    with pytest.raises(ValueError, match=cure):
        et.TrainingConfig(**SMALL | changes)


RULE = et.Gradient(cross_entropy)
ALL = {
    "optimizer": {"optimizer_type": "adamw", "learning_rate": 0.05, "weight_decay": 0.1},
    "scheduler": {"scheduler_type": "cosine", "warmup_steps": 3},
    "gradient_clip_norm": 0.5,
    "precision": "bfloat16",
}


def test_it_builds_the_training_that_one_writes_by_hand(tmp_path):
    """Same bits, also with accumulation: a step takes the samples of two batches of 16."""
    config = et.TrainingConfig(
        **ALL, batch_size=16, num_epochs=3, gradient_accumulation_steps=2, name="a",
        checkpoint_dir=tmp_path / "built", save_frequency=5, max_checkpoints=1,
    )  # fmt: skip
    held = et.Validation(et.ArrayData(blobs(40, seed=1), 40))
    phase = config.phase("fit", RULE, blobs(), mask=decay_mask, validation=held)
    built = config.trainer(mlp(), phase, progress=False, seed=3).fit()

    steps = 3 * 7  # 200 samples make seven steps of 32, the last of them short
    schedule = SchedulerConfig(**ALL["scheduler"]).build(0.05, steps)
    optimizer = OptimizerConfig(**ALL["optimizer"], gradient_clip_norm=0.5)
    learner = et.Learner(
        RULE, optimizer.build(schedule, decay_mask), accumulate=2, precision="bfloat16"
    )
    data = et.ArrayData(blobs(), 32)
    written = et.Trainer(
        mlp(), et.Phase("fit", learner, data, et.Epochs(3), held), run=tmp_path / "written",
        callbacks=[et.ModelCheckpoint(et.Steps(5), keep_last=1)], progress=False, seed=3,
    ).fit()  # fmt: skip

    assert same(built.model, written.model)
    assert built.metrics == written.metrics
    names = [
        sorted(path.name for path in (result.run / "checkpoints").iterdir())
        for result in (built, written)
    ]
    assert names[0] == names[1]
    again = config.trainer(mlp(), phase, progress=False, seed=3).resume()
    assert same(again.model, built.model)


def test_parts_are_built_for_phases_of_ones_own():
    config = et.TrainingConfig(**SMALL, gradient_accumulation_steps=3, precision="float16")
    learner = config.learner(RULE, where=lambda model: model.layers[0], ema=0.9)
    assert (learner.accumulate, learner.precision, learner.ema) == (3, "float16", 0.9)
    files = config.phase(
        "fit", RULE, lambda size: et.AccessData(list(zip(*blobs(), strict=True)), size)
    )
    assert files.data.batch_size == 24
    assert config.callbacks() == []


@pytest.mark.parametrize(
    ("build", "cure"),
    [
        (
            lambda c: c.learner(RULE, precision="bfloat16"),
            "learner: precision is set by the field",
        ),
        (
            lambda c: c.learner(RULE, clip_norm=1.0),
            "is set by the field gradient_clip_norm",
        ),
        (
            lambda c: c.phase("fit", RULE, blobs(), length=et.Steps(3)),
            "phase: length is set by the field num_epochs. Leave it out here, and change",
        ),
        (
            lambda c: c.trainer(mlp(), (), run="x"),
            "run is set by the field checkpoint_dir",
        ),
        (
            lambda c: c.phase("fit", RULE, et.ArrayData(blobs(), 4)),
            "a source, ArrayData, with a batch size of its own beside batch_size=8. .* lambda size",
        ),
    ],
)
def test_what_the_configuration_says_is_not_said_twice(build, cure):
    with pytest.raises(et.ConfigurationError, match=cure):
        build(et.TrainingConfig(**SMALL))


# Every field changes something.


def squares(levels, batch, context):
    return jnp.mean((levels - batch.astype(levels.dtype)) ** 2)


@functools.cache
def trained(config):
    """The weights after the training."""
    samples = jax.random.normal(jax.random.key(0), (24, 3))
    phase = config.phase("fit", et.Gradient(squares), samples)
    return config.trainer(jnp.ones(3), phase, progress=False).fit().model.tolist()


@contextlib.contextmanager
def run_of(config):
    """A new folder in which the training was called."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        trained.__wrapped__(config)
        yield Path(folder)


def files(config):
    """The names of what a training leaves, and the metrics that it writes."""
    with run_of(config) as folder:
        # Not config.yaml, in which every field has its line whether it does something or not.
        return {
            path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
            if path.name == "metrics.csv"
            else None
            for path in sorted(folder.rglob("*"))
            if path.parent.name in ("run", "other", "checkpoints")
        }


def label(config):
    with run_of(config) as folder:
        return yaml.safe_load((folder / "run/config.yaml").read_text(encoding="utf-8"))["name"]


def loggers(config):
    return [
        (type(logger).__name__, logger.project, logger.name, logger.every)
        for logger in config.callbacks()
        if isinstance(logger, WandbLogger)
    ]


RUN, WANDB = SMALL | {"checkpoint_dir": "run"}, SMALL | {"use_wandb": True}
CHANGES = {
    "name": Change("a", "b", label, RUN),
    "batch_size": Change(8, 12, trained, SMALL),
    "num_epochs": Change(2, 3, trained, SMALL),
    "optimizer": Change(SGD, SGD | {"learning_rate": 0.5}, trained, SMALL),
    "scheduler": Change(None, {"scheduler_type": "linear"}, trained, SMALL),
    "gradient_clip_norm": Change(None, 1e-3, trained, SMALL),
    "gradient_accumulation_steps": Change(1, 2, trained, SMALL),
    "precision": Change("float32", "bfloat16", trained, SMALL),
    "checkpoint_dir": Change("run", "other", files, SMALL),
    "save_frequency": Change(1, 4, files, RUN),
    "max_checkpoints": Change(1, 2, files, RUN | {"save_frequency": 1}),
    "log_frequency": Change(None, 2, files, RUN),
    "use_wandb": Change(False, True, loggers, SMALL),
    "wandb_project": Change(None, "vae", loggers, WANDB),
}


@pytest.mark.parametrize("field", fields_of(et.TrainingConfig, CHANGES))
def test_every_field_changes_something(field):
    check_field(et.TrainingConfig, field, CHANGES)


def test_log_entries_go_to_one_place():
    entries = {"log_frequency": 7, "checkpoint_dir": "run", "name": "vae"}
    (logger,) = et.TrainingConfig(**WANDB | entries).callbacks()[1:]
    assert (type(logger), logger.every, logger.name) == (WandbLogger, 7, "vae")
    (logger,) = et.TrainingConfig(**SMALL | entries).callbacks()[1:]
    assert (type(logger), logger.every) == (CSVLogger, 7)


@pytest.mark.parametrize("part", ["optimizer", "scheduler"])
def test_the_labels_of_parts_are_in_the_configuration_of_the_run(part, tmp_path):
    parts = {"optimizer": SGD, "scheduler": {"scheduler_type": "linear"}}
    parts[part] = parts[part] | {"name": "a label"}
    config = et.TrainingConfig(**SMALL | parts, checkpoint_dir=tmp_path / "run")
    trained(config)
    assert "name: a label" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
