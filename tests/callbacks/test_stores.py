"""Each store, read back by independent means, has what the history has, after a resume too."""

import csv
import json
import struct
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import Kill, X, fit, model, phase, recorded

import etude as et
from etude.callbacks import CSVLogger, MLflowLogger, TensorBoardLogger, TrackioLogger, WandbLogger

# CSV.


def rows_of(path):
    with path.open(newline="") as file:
        return [
            (r["phase"], int(r["visit"]), int(r["global_step"]), r["metric"], float(r["value"]))
            for r in csv.DictReader(file)
        ]


def expected_rows(history):
    return [
        (r["phase"], r["visit"], r["global_step"], name, value)
        for r in history
        for name, value in r.items()
        if "/" in name
    ]


def test_csv_has_the_history_and_a_resume_repeats_no_step(tmp_path):
    phases = [phase("one"), phase("two")]
    save = et.ModelCheckpoint(every=et.Steps(10))
    logger = CSVLogger()
    with pytest.raises(RuntimeError, match="killed"):
        fit(phases, [logger, save, Kill(at=37)], run=tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    assert max(row[2] for row in rows_of(path)) == 37, "beyond the checkpoint at step 30"
    trainer = et.Trainer(model(), phases, callbacks=[CSVLogger(), save], progress=False)
    result = trainer.resume(tmp_path / "run")
    got, expected = rows_of(path), expected_rows(result.history)
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    np.testing.assert_allclose([r[4] for r in got], [r[4] for r in expected], rtol=1e-8)


def rolling_back(folder, logger):
    """Trains with a logger, through a roll-back; the steps of the history."""

    def explodes_by_chance(w, batch, context):
        unlucky = (context.step == 25) & (jax.random.uniform(context.key) < 0.9)
        return jnp.mean((w - batch) ** 2) + jnp.where(unlucky, jnp.nan, 0.0)

    learner = et.Learner(et.Gradient(explodes_by_chance), optax.sgd(0.1))
    one = et.Phase("fit", learner, et.ArrayData(X, batch_size=4), et.Steps(40))
    trainer = et.Trainer(
        jnp.zeros(2),
        one,
        callbacks=[logger, et.ModelCheckpoint(every=et.Steps(10))],
        nonfinite=et.NonFinite("rollback", retries=50),
        progress=False,
        run=folder,
    )
    result = trainer.fit()
    assert any(record.get("event") == "rollback" for record in result.history)
    return [record["global_step"] for record in result.history if "train/loss" in record]


def test_csv_goes_back_with_a_roll_back(tmp_path):
    steps = rolling_back(tmp_path / "run", CSVLogger())
    assert [row[2] for row in rows_of(tmp_path / "run" / "metrics.csv")] == steps
    assert steps == list(range(1, 41))


def test_csv_drops_a_line_that_a_kill_has_torn(tmp_path):
    save = et.ModelCheckpoint(every=et.Steps(10))
    with pytest.raises(RuntimeError, match="killed"):
        fit(phase(), [CSVLogger(), save, Kill(at=37)], run=tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    whole = path.read_bytes().splitlines(keepends=True)[:20]
    path.write_bytes(b"".join(whole) + b"fit,0,1")
    et.Trainer(model(), phase(), callbacks=[CSVLogger(), save], progress=False).resume(
        tmp_path / "run"
    )
    assert path.read_bytes().splitlines(keepends=True)[:20] == whole
    names = {"train/loss", "train/twice", "valid/loss", "valid/twice"}
    assert {row[3] for row in rows_of(path)} == names
    assert rows_of(path)[-1][2] == 40


# TensorBoard.


def events_of(folder):
    """Reads event files by the format of TFRecord: length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def test_tensorboard_reads_back_the_history(tmp_path):
    logger = TensorBoardLogger(every=1)
    config = {"optimizer": {"name": "sgd"}}
    history = fit(phase(), [logger], run=tmp_path / "run", config=config).history
    found, texts = {}, []
    for event in events_of(tmp_path / "run" / "tensorboard"):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
            texts += value.tensor.string_val
    for metric in ("train/loss", "train/twice", "valid/loss"):
        expected = recorded(history, "fit", metric)
        assert [step for step, _ in found[f"fit/{metric}"]] == [step for step, _ in expected]
        np.testing.assert_allclose(found[f"fit/{metric}"], expected, rtol=1e-6)
    assert any(b"optimizer.name: sgd" in text for text in texts)


def test_tensorboard_is_told_which_steps_a_resume_makes_again(tmp_path):
    save = et.ModelCheckpoint(every=et.Steps(10))
    with pytest.raises(RuntimeError, match="killed"):
        fit(phase(), [TensorBoardLogger(), save, Kill(at=37)], run=tmp_path / "run")
    trainer = et.Trainer(model(), phase(), callbacks=[TensorBoardLogger(), save], progress=False)
    trainer.resume(tmp_path / "run")
    starts = [e.step for e in events_of(tmp_path / "run" / "tensorboard") if e.session_log.status]
    assert starts == [1, 31]


# Weights & Biases.


def records_of(path):
    """Reads a `.wandb` file by its format, LevelDB's log, after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # the rest of a block that holds no further header
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(whole)
            whole = b""


def test_wandb_offline_reads_back_the_history(tmp_path, monkeypatch):

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    logger = WandbLogger(every=4)
    history = fit(phase(), [logger], run=tmp_path / "run", config={"lr": 0.05}).history
    (path,) = (tmp_path / "run").glob("wandb/offline-*/*.wandb")
    assert logger.identity in path.name
    found, config = {}, {}
    for record in records_of(path):
        config |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
        row = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for name in row.keys() & {"fit/train/loss", "fit/valid/loss"}:
            found.setdefault(name, []).append((row["global_step"], row[name]))
    assert found["fit/train/loss"] == recorded(history, "fit", "train/loss")[::4]
    assert found["fit/valid/loss"] == recorded(history, "fit", "valid/loss")
    assert config["lr"] == 0.05


def wandb_run(path):
    """(group, step it went on from, [(metric, step)]) of a `.wandb` file."""
    group, came_from, points = None, None, []
    for record in records_of(path):
        group = record.run.run_group or group
        for update in record.run.config.update:
            if update.key == "etude/from_step":
                came_from = json.loads(update.value_json)
        row = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        points += [(name, row["global_step"]) for name in row if name.startswith("fit/")]
    return group, came_from, points


def test_wandb_has_a_run_for_each_sitting_and_no_step_twice_in_any(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    save = et.ModelCheckpoint(every=et.Steps(10))
    logger = WandbLogger(every=1)
    with pytest.raises(RuntimeError, match="killed"):
        fit(phase(), [logger, save, Kill(at=37)], run=tmp_path / "run")
    again = WandbLogger(every=1)
    et.Trainer(model(), phase(), callbacks=[again, save], progress=False).resume(tmp_path / "run")
    assert again.identity == logger.identity
    found = [wandb_run(path) for path in (tmp_path / "run").glob("wandb/offline-*/*.wandb")]
    first, second = sorted(found, key=lambda run: run[1])
    assert first[0] == second[0] == logger.identity
    assert (first[1], second[1]) == (0, 30)
    for _, came_from, points in (first, second):
        assert len(points) == len(set(points))
        assert min(step for _, step in points) == came_from + 1
    assert max(step for _, step in second[2]) == 40


# MLflow.


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mlflow_reads_back_the_history_and_a_resume_goes_on_with_its_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    from mlflow import MlflowClient

    save = et.ModelCheckpoint(every=et.Steps(10))
    config = {"phases": ["fit"], "optimizer": {"name": "sgd"}}
    one = phase("fit+1")
    with pytest.raises(RuntimeError, match="killed"):
        fit(one, [MLflowLogger(every=1), save, Kill(at=33)], run="run", config=config)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    there = client.get_experiment_by_name("etude")
    assert there is not None
    assert [run.info.status for run in client.search_runs([there.experiment_id])] == ["FAILED"]
    again = et.Trainer(
        model(), one, callbacks=[MLflowLogger(every=1), save], progress=False
    ).resume("run")
    (run,) = client.search_runs([there.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.name"] == "sgd"
    for metric in ("train/loss", "train/twice", "valid/loss"):
        points = client.get_metric_history(run.info.run_id, f"fit_1/{metric}")
        found = sorted((p.step, p.value) for p in points)
        assert found == recorded(again.history, "fit+1", metric), "each step, once"
    assert {path.name for path in tmp_path.iterdir()} == {"run", "mlflow.db"}


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mlflow_keeps_metrics_and_ends_whatever_the_configuration_is_called(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    config = {
        "x" * 300: 1, "x" * 299 + "y": 2, "a+b": 3, "a*b": 4, "": 5, "..": 6, "/abs": 7, "a//b": 8,
        "long": "v" * 10_000, "nothing": None,
    }  # fmt: skip
    history = fit(phase(), [MLflowLogger(every=1)], run=tmp_path / "run", config=config).history
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("etude").experiment_id])
    assert run.info.status == "FINISHED"
    assert sorted(v for v in run.data.params.values() if v.isdigit()) == list("12345678")
    points = client.get_metric_history(run.info.run_id, "fit/train/loss")
    assert sorted((p.step, p.value) for p in points) == recorded(history, "fit", "train/loss")


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mlflow_ends_a_run_that_it_cannot_write(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    def fail(*_, **__):
        raise OSError("the server said no")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.warns(UserWarning, match="MLflowLogger failed.*the server said no"):
        fit(phase(), [MLflowLogger()], run=tmp_path / "run", config={"a": 1})
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("etude").experiment_id])
    assert run.info.status == "FAILED"


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mlflow_writes_a_nested_run_after_a_roll_back(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    steps = rolling_back(tmp_path / "run", MLflowLogger(every=1))
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("etude").experiment_id])
    by_id = {run.info.run_id: run for run in runs}
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    (last,) = (run for run in runs if run.info.run_id not in parents)
    found = []
    while last is not None:
        points = client.get_metric_history(last.info.run_id, "fit/train/loss")
        mine = sorted(point.step for point in points)
        assert len(mine) == len(set(mine))
        found = [step for step in mine if not found or step < found[0]] + found
        last = by_id.get(last.data.tags.get("mlflow.parentRunId"))
    assert found == steps
    assert len(runs) > 1


# Trackio, by its public interface.


def test_trackio_is_initialised_logged_to_and_finished(tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType("trackio")
    fake.init = lambda **options: calls.append(("init", options))
    fake.log = lambda metrics, step=None: calls.append(("log", step, metrics))
    fake.finish = lambda: calls.append(("finish",))
    monkeypatch.setitem(sys.modules, "trackio", fake)
    logger = TrackioLogger("bearings", every=1)
    history = fit(phase(), [logger], run=tmp_path / "run", config={"lr": 1}).history
    options = calls[0][1]
    assert options["project"] == "bearings"
    assert options["config"] == {"lr": 1, "etude/from_step": 0}
    assert options["name"] == options["group"] == logger.identity
    assert calls[-1] == ("finish",)
    for metric in ("train/loss", "valid/loss"):
        name = f"fit/{metric}"
        logged = [(c[1], c[2][name]) for c in calls if c[0] == "log" and name in c[2]]
        assert logged == recorded(history, "fit", metric)


def test_trackio_has_a_run_for_each_sitting(tmp_path, monkeypatch):
    opened = []
    fake = types.ModuleType("trackio")
    fake.init = lambda **options: opened.append((options, []))
    fake.log = lambda metrics, step=None: opened[-1][1].append(step)
    fake.finish = lambda: None
    monkeypatch.setitem(sys.modules, "trackio", fake)
    save = et.ModelCheckpoint(every=et.Steps(10))
    with pytest.raises(RuntimeError, match="killed"):
        fit(phase(validate=100), [TrackioLogger(name="a", every=1), save, Kill(at=37)],
            run=tmp_path / "run")  # fmt: skip
    again = TrackioLogger(name="a", every=1)
    et.Trainer(
        model(), phase(validate=100), callbacks=[again, save], progress=False
    ).resume(tmp_path / "run")  # fmt: skip
    (first, one), (second, two) = opened
    assert first["name"] == "a"
    assert second["name"].startswith("a-")
    assert first["group"] == second["group"] == again.identity
    assert (first["config"]["etude/from_step"], second["config"]["etude/from_step"]) == (0, 30)
    assert one == list(range(1, 38))
    assert sorted(set(two)) == list(range(31, 41))


def test_each_training_of_one_trainer_is_one_of_its_own(tmp_path):
    logger = CSVLogger(tmp_path / "metrics.csv")
    trainer = et.Trainer(model(), phase(), callbacks=[logger], progress=False)
    trainer.fit()
    first = logger.identity
    trainer.fit()
    assert first
    assert logger.identity
    assert first != logger.identity
