"""One training in several processes: `python joined.py JOB FOLDER [NUMBER COUNT PORT]`.

`run` starts them, on devices of a CPU; alone, the job takes as many devices in one process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class End(NamedTuple):
    """How a process ended."""

    code: int
    told: dict
    out: str


def run(job: str, folder: Path, *, processes: int, devices: int, limit: float = 150) -> list[End]:
    """The ends of all processes of a job, each with so many devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder.mkdir(parents=True, exist_ok=True)
    started = []
    for number in range(processes):
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
        joined = [str(number), str(processes), port] if processes > 1 else []
        out = (folder / f"out-{number}").open("w+")
        process = subprocess.Popen(
            [sys.executable, __file__, job, str(folder), *joined],
            env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        started.append((process, out))
    ends = []
    try:
        for number, (process, out) in enumerate(started):
            code = process.wait(limit)
            out.seek(0)
            told = folder / f"told-{number}.json"
            found = json.loads(told.read_text()) if told.exists() else {}
            ends.append(End(code, found, out.read()))
            told.unlink(missing_ok=True)
    finally:
        for process, out in started:
            process.kill()
            out.close()
    return ends


def main(job: str, folder: str, number: str = "0", count: str = "1", port: str = "") -> None:
    sys.path.insert(0, str(HERE.parent))
    # As in the foreground: a shell ignores SIGINT, and nohup SIGHUP, for what runs behind it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    import jax

    import typecheck

    jax.config.update("jax_numpy_dtype_promotion", "strict")
    if port:
        jax.distributed.initialize(
            f"127.0.0.1:{port}",
            int(count),
            int(number),
            initialization_timeout=60,
            heartbeat_timeout_seconds=10,
            shutdown_timeout_seconds=20,
        )
    typecheck.install()
    from etude.engine.processes import ProcessLostError
    from etude.errors import EtudeError
    from etude.training.signals import Interrupted

    told, code = {}, 0
    try:
        told = JOBS[job](Path(folder), int(number))
    except Interrupted as error:
        told, code = {"error": str(error)}, 3
    except ProcessLostError as error:
        told, code = {"error": str(error)}, 1
    except EtudeError as error:
        told, code = {"error": str(error), "kind": type(error).__name__}, 2
    (Path(folder) / f"told-{number}.json").write_text(json.dumps(told))
    sys.exit(code)


def _trainer(number: int = 0, **options):
    """A small network by Adam, and what changes of it."""
    import jax
    import jax.numpy as jnp
    import optax

    import etude as et

    given = {
        "kind": "resident",
        "length": et.Epochs(6),
        "limit": None,
        "scale": 1.0,
        "seed": 0,
        "shift": 0.0,
        "first": 0.0,
    }
    own = {name: options.pop(name, value) for name, value in given.items()}
    x = jax.random.normal(jax.random.key(0), (70, 4)) + own["shift"]
    y = jnp.sin(x.sum(1))

    def loss(model, batch, context):
        inputs, targets = batch
        found = jnp.tanh(inputs @ model["a"]) @ model["b"] * own["scale"]
        noise = 0.01 * jax.random.normal(context.key, found.shape)
        return jnp.mean((found + noise - targets) ** 2), {"largest": jnp.abs(found).max()}

    model = {"a": jax.random.normal(jax.random.key(1), (4, 64)), "b": jnp.full(64, own["first"])}
    x, y = jax.device_get((x, y))
    sources = {
        "resident": lambda: et.ArrayData((x, y), batch_size=16),
        "rows": lambda: et.ArrayData((x[:64], y[:64]), batch_size=16, shards=4),
        "hosted": lambda: et.AccessData(list(zip(x, y, strict=True)), batch_size=16),
        "reversed": lambda: et.AccessData(list(zip(x, y, strict=True))[::-1], batch_size=16),
        "fsdp": lambda: et.ArrayData((x, y), batch_size=16),
    }
    data = sources[own["kind"]]()
    learner = et.Learner(et.Gradient(loss), optax.adam(0.01), accumulate=2, ema=0.9)
    phase = et.Phase(
        "fit",
        learner,
        data,
        own["length"],
        limit=own["limit"],
        validation=et.Validation(et.ArrayData((x, y), batch_size=30)),
        keep=options.pop("keep", et.Best("valid/loss")),
    )
    if own["kind"] == "fsdp":
        options["sharding"] = et.Sharded(at_least=64)
    mesh = et.mesh(data=len(jax.devices()))
    return et.Trainer(model, phase, mesh=mesh, progress=False, seed=own["seed"], **options)


def _leaves(model) -> dict:
    """The model, read in this process."""
    import jax
    import numpy as np

    from etude.devices import on_one

    return {name: np.asarray(leaf).tolist() for name, leaf in jax.device_get(on_one(model)).items()}


def _result(result) -> dict:
    return {
        "model": _leaves(result.model),
        "metrics": result.metrics,
        "reason": result.reason.name,
        "losses": result.history["train/loss"].value.tolist(),
        "records": len(result.history),
    }


def _of_kind(kind: str):
    def job(folder: Path, number: int) -> dict:
        return _result(_trainer(kind=kind, run=folder / "run").fit())

    return job


def _signalled(name: str, receiver: int):
    """A long training, of which one process gets a signal once there is a checkpoint."""

    def job(folder: Path, number: int) -> dict:
        def send() -> None:
            while not list(folder.glob("run/checkpoints/*/manifest.json")):
                time.sleep(0.05)
            time.sleep(0.5)
            os.kill(os.getpid(), getattr(signal, name))

        if number == receiver:
            threading.Thread(target=send, daemon=True).start()
        return _result(_long(folder).fit())

    return job


def _long(folder: Path):
    import etude as et

    return _trainer(run=folder / "run", length=et.Epochs(100_000), keep="last")


def _stepped(folder: Path, number: int) -> dict:
    """The training of `_long`, as far as the interrupted one came and 20 steps more."""
    return _result(_until(folder, folder / "alone").fit())


def _resumed(folder: Path, number: int) -> dict:
    return _result(_until(folder, folder / "run").resume(changes="allow"))


def _until(folder: Path, run: Path):
    import etude as et

    stand = json.loads((folder / "step").read_text())
    return _trainer(run=run, length=et.Steps(stand + 20), keep="last")


def _differs(**by_number):
    """Process 1 has another value than process 0."""

    def job(folder: Path, number: int) -> dict:
        own = {name: values[number] for name, values in by_number.items()}
        return _result(_trainer(number, run=folder / "run", **own).fit())

    return job


def _limited(folder: Path, number: int) -> dict:
    """A limit of time, which processes would reach at different steps."""
    import etude as et

    return _result(_trainer(length=et.Epochs(100_000), limit=et.Seconds(20), keep="last").fit())


def _watched(folder: Path, number: int) -> dict:
    """A callback that stops after its own count, which only the first process has."""
    import etude as et

    calls = []

    class Stopper(et.Callback):
        def on_validation_end(self, event, metrics):
            calls.append(float(event.model()["b"].sum()))
            return et.Stop(detail="enough") if len(calls) == 3 else None

    result = _trainer(run=folder / "run", callbacks=[Stopper()]).fit()
    return {"calls": calls, **_result(result)}


def _raising(folder: Path, number: int) -> dict:
    """A callback that fails, in the first process, which alone calls it."""
    import etude as et

    class Failing(et.Callback):
        def on_validation_end(self, event, metrics):
            raise ZeroDivisionError("in a callback")

    return _result(_trainer(run=folder / "run", callbacks=[Failing()]).fit())


def _finished_again(folder: Path, number: int) -> dict:
    """The second fit has nothing left to do, the third begins anew."""
    made = [_trainer(run=folder / "run").fit(resume="auto") for _ in range(2)]
    made.append(_trainer(run=folder / "other").fit())
    return {"models": [_leaves(result.model) for result in made], "steps": len(made[1].history)}


def _signalled_twice(folder: Path, number: int) -> dict:
    """Two trainings in turn; each gets a signal, of which the service has one to give."""
    import etude as et

    found = []
    for name in ("first", "second"):
        (folder / name).mkdir(exist_ok=True)
        try:
            _signalled("SIGTERM", 1)(folder / name, number)
        except et.Interrupted as error:
            found.append(str(error))
    return {"interrupted": found}


def _other_files(folder: Path, number: int) -> dict:
    """Process 1 has another run in a folder of the same name."""
    import shutil

    own = folder / f"of-{number}"
    own.mkdir()
    os.chdir(own)
    shutil.copytree(folder / f"run-{number}", own / "run")
    return _result(_trainer(run="run", length=_longer()).resume(changes="allow"))


def _made_alone(number: int):
    def job(folder: Path, _: int) -> dict:
        return _result(_trainer(run=folder / f"run-{number}", first=float(number)).fit())

    return job


def _longer():
    import etude as et

    return et.Epochs(12)


def _rescued(folder: Path, number: int) -> dict:
    """A rescue whose condition is another in each process: that of the first counts."""
    import jax
    import jax.numpy as jnp
    import optax

    import etude as et

    data = et.ArrayData(jnp.arange(32.0), batch_size=8)
    rule = et.Gradient(lambda w, batch, context: jnp.mean((w - batch) ** 2))
    learner = et.Learner(rule, optax.sgd(0.1))
    help_ = et.Phase("help", learner, data, et.Steps(3))
    rescue = et.Rescue(help_, when=lambda validations: number == 0 and len(validations) == 2)
    phase = et.Phase(
        "fit", learner, data, et.Epochs(3), validation=et.Validation(data), rescue=rescue
    )
    mesh = et.mesh(data=len(jax.devices()))
    result = et.Trainer(jnp.zeros(()), phase, mesh=mesh, progress=False).fit()
    return {"model": float(result.model), "reasons": [name for name, _ in result.reasons]}


def _rolled_back(folder: Path, number: int) -> dict:
    """A loss that is NaN in the first attempt at step 40 goes back to the last checkpoint."""
    import jax
    import jax.numpy as jnp
    import optax

    import etude as et

    def loss(w, batch, context):
        drawn = jax.random.uniform(context.key)
        return jnp.where(drawn > 0.97, jnp.nan, jnp.mean((w - batch) ** 2))

    data = et.ArrayData(jnp.arange(32.0), batch_size=8)
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    phase = et.Phase("fit", learner, data, et.Steps(60))
    result = et.Trainer(
        jnp.zeros(()),
        phase,
        mesh=et.mesh(data=len(jax.devices())),
        nonfinite=et.NonFinite("rollback", retries=20),
        callbacks=[et.ModelCheckpoint(every=et.Steps(5))],
        run=folder / "run",
        progress=False,
    ).fit()
    events = [e for e in result.history.events if e.get("event") == "rollback"]
    return {"model": float(result.model), "rollbacks": len(events)}


def _refused(folder: Path, number: int) -> dict:
    """What several processes cannot do, by name."""
    import jax
    import jax.numpy as jnp
    import optax

    import etude as et

    data = et.ArrayData(jnp.ones(8), batch_size=8)
    rule = et.Gradient(lambda w, batch, context: jnp.mean((w - batch) ** 2))
    phases = et.Phase("fit", et.Learner(rule, optax.sgd(0.1)), data, et.Steps(2))
    found = {}
    attempts = {
        "no mesh": lambda: et.Trainer(jnp.zeros(()), phases),
        "part": lambda: et.Trainer(jnp.zeros(()), phases, mesh=et.mesh(data=1)),
        "population": lambda: et.Trainer(
            phases=phases,
            population=et.Population(lambda key: jnp.zeros(()), members=2),
            mesh=et.mesh(members=len(jax.devices())),
        ),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except et.EtudeError as error:
            found[name] = str(error)
    return found


JOBS = {
    **{kind: _of_kind(kind) for kind in ("resident", "rows", "hosted", "fsdp")},
    "SIGTERM-0": _signalled("SIGTERM", 0),
    "SIGTERM-1": _signalled("SIGTERM", 1),
    "SIGINT-1": _signalled("SIGINT", 1),
    "SIGHUP-0": _signalled("SIGHUP", 0),
    "SIGKILL-1": _signalled("SIGKILL", 1),
    "SIGKILL-0": _signalled("SIGKILL", 0),
    "stepped": _stepped,
    "resumed": _resumed,
    "other seed": _differs(seed=(0, 1)),
    "other loss": _differs(scale=(1.0, 1.5)),
    "other data": _differs(shift=(0.0, 1.0)),
    "other model": _differs(first=(0.0, 1.0)),
    "limited": _limited,
    "watched": _watched,
    "raising": _raising,
    "finished again": _finished_again,
    "signalled twice": _signalled_twice,
    "other files": _other_files,
    "made 0": _made_alone(0),
    "made 1": _made_alone(1),
    "rescued": _rescued,
    "other order": _differs(kind=("hosted", "reversed")),
    "rolled back": _rolled_back,
    "refused": _refused,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
