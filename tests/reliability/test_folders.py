"""The folder of a run: any path, one writer, the user's files stay, a loss is noticed."""

import multiprocessing
import os
import shutil
import tempfile
import threading
import time
import warnings
from pathlib import Path

import drill
import pytest
import small

import etude as et
from etude.errors import LockedError, RunError, RunLostError
from etude.run import CheckpointStore, Run

ODD = [
    "a[1]", "a*", "a?", "back\\slash", "with space", "50%", "a%20b", "ünïcode", "dots...", "a:b#c",
    "{a}", "new\nline", "\udcff", "~", "-x", "x" * 200,
]  # fmt: skip


def cut(folder, *callbacks):
    """A training that ends by an exception at step 13, after checkpoints."""
    at = drill.At("on_epoch_end", 3, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer(folder, *callbacks, at).fit()


def trainer(folder, *callbacks, **options):
    saving = et.ModelCheckpoint(et.Steps(4), keep_last=2)
    return small.trainer(small.phase(), run=folder, callbacks=[saving, *callbacks], **options)


# Paths.


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_checkpoints_under_any_path_come_back(name, tmp_path):
    store = CheckpointStore(tmp_path / name / "run")
    store.save("first", {"a": small.DATA}, {})
    store.wait()
    assert (store.restore().arrays["a"] == small.DATA).all()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_any_path_can_be_trained_in_killed_and_resumed(tmp_path):
    folder = tmp_path / "a[1]*?{b}\\ %20#é\n\udcff'..."
    cut(folder)
    result = trainer(folder).resume()
    assert float(result.model["a"]) == pytest.approx(small.by_hand(small.STEPS), abs=1e-5)
    assert small.steps_of(result.history) == list(range(1, small.STEPS + 1))
    assert float(trainer(folder).load()["a"]) == float(result.model["a"])
    assert list(tmp_path.iterdir()) == [folder]


def test_where_temporary_files_lie_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "t[1]").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t[1]"))
    store = CheckpointStore(tmp_path / "a[1]")
    store.save("first", {"a": small.DATA}, {})
    store.wait()
    assert (store.restore().arrays["a"] == small.DATA).all()
    assert not list((tmp_path / "t[1]").iterdir())


def test_a_long_path_works_and_a_longer_one_is_refused_before_training(tmp_path):
    folder = tmp_path
    while len(str(folder)) < 3300:
        folder /= "x" * 200
    cut(folder)
    assert trainer(folder).resume().reason is et.Reason.LENGTH
    while len(str(folder)) < 3700:
        folder /= "x" * 200
    for bad in (folder, tmp_path / ("y" * 300), tmp_path / "null\0byte"):
        seen = drill.At("on_phase_begin", 1, lambda: None)
        with pytest.raises(RunError, match=r"may have|too long"):
            trainer(bad, seen).fit()
        assert seen.left == 1
    shutil.rmtree(tmp_path / ("x" * 200))
    with pytest.raises(et.ConfigurationError, match="up to 200 bytes"):
        small.phase(name="x" * 300)


def test_a_relative_folder_is_the_same_after_a_change_of_directory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    built = trainer("run", drill.At("on_epoch_end", 2, lambda: os.chdir(tmp_path / "elsewhere")))
    result = built.fit()
    assert result.run == tmp_path / "run"
    assert len(small.steps_of(result.history)) == small.STEPS
    assert not list((tmp_path / "elsewhere").iterdir())
    built.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_folder_that_may_not_be_written_is_a_sentence():
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        trainer(place / "run").fit()
        os.chmod(place, 0o755)
        os.seteuid(65534)
        try:
            for act in (
                trainer(place / "new").fit,
                trainer(place / "run", overwrite=True).fit,
                trainer(place / "run").resume,
            ):
                with pytest.raises(RunError, match=r"cannot be .*: Permission denied"):
                    act()
            with Run.open(place / "run", lock=False) as run:  # reading needs no right to write
                assert run.checkpoints.restore().meta["seed"] == 0
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["file/run", "file", "/proc/etude/run"])
def test_a_place_where_no_folder_can_be_is_a_sentence(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be made|is a file"):
        trainer(tmp_path / name).fit()


# One writer.


def test_a_second_training_in_this_process_is_refused(tmp_path):
    refused = []

    def again():
        def attempt(act):
            with pytest.raises(LockedError, match="this one, in another training"):
                act()
            refused.append(act)

        for act in (
            trainer(tmp_path / "run").resume,
            trainer(tmp_path / "run", overwrite=True).fit,
            trainer(link, overwrite=True).fit,
        ):
            thread = threading.Thread(target=attempt, args=[act])
            thread.start()
            thread.join()

    link = tmp_path / "link"
    link.symlink_to(tmp_path / "run")
    result = trainer(tmp_path / "run", drill.At("on_epoch_end", 3, again)).fit()
    assert len(refused) == 3
    assert small.steps_of(result.history) == list(range(1, small.STEPS + 1))
    trainer(tmp_path / "run").resume()  # it was freed


def test_of_many_threads_one_trains(tmp_path):
    ended = []

    def attempt():
        try:
            ended.append(trainer(tmp_path / "run").fit())
        except (LockedError, RunError) as error:  # it is in training, or made already
            ended.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (result,) = [one for one in ended if isinstance(one, et.Result)]
    assert small.steps_of(result.history) == list(range(1, small.STEPS + 1))


def _held(folder, connection):
    try:
        Run.open(folder).close()
        connection.send("free")
    except LockedError as error:
        connection.send(str(error))


def test_a_refusal_here_leaves_the_lock_against_other_processes(tmp_path):
    with Run.create(tmp_path / "run", {}, seed=0):
        with pytest.raises(LockedError):
            Run.open(tmp_path / "run")
        shutil.copytree(tmp_path / "run", tmp_path / "copy")  # reads the lock file
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX has threads; the child does not use it
            child = context.Process(target=_held, args=(tmp_path / "run", theirs))
            child.start()
        assert f"process {os.getpid()}" in ours.recv()
        child.join()


# Overwriting.


def test_overwriting_leaves_what_is_the_users(tmp_path):
    folder = tmp_path / "run"
    trainer(folder).fit()
    mine = [
        "notes.txt",
        "figures/paper.pdf",
        "checkpoints/mine/w.npy",
        "data/x.csv",
        "checkpoints/n",
        "checkpoints/shared/.DS_Store",
        *(f"checkpoints/{path.name}/.nfs01" for path in folder.glob("checkpoints/0*")),
    ]
    assert len(mine) > 6
    for name in mine:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("years of work")
    old = ["history.bin", "figures/loss.png", "report.html", "tensorboard/events.out.tfevents.1"]
    (folder / "tensorboard").mkdir()
    for name in old[1:]:
        (folder / name).write_text("of the old run")
    before = drill.history(folder)
    result = trainer(folder, overwrite=True).fit()
    assert all((folder / name).read_text() == "years of work" for name in mine)
    assert not any((folder / name).exists() for name in old[1:])
    assert drill.history(folder) == before
    assert small.steps_of(result.history) == list(range(1, small.STEPS + 1))


def test_overwriting_that_is_cut_off_can_be_done_again(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    trainer(folder).fit()
    (folder / "notes.txt").write_text("mine")
    original = Path.unlink

    for stop_at in ("environment.json", "config.yaml"):

        def unlink(path, *arguments, stop_at=stop_at, **options):
            original(path, *arguments, **options)
            if path.name == stop_at:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", unlink)
            with pytest.raises(KeyboardInterrupt):
                trainer(folder, overwrite=True).fit()
        assert trainer(folder, overwrite=True).fit().reason is et.Reason.LENGTH
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_configuration_that_lies_in_the_folder_is_not_replaced(tmp_path):
    (tmp_path / "config.yaml").write_text("mine: 1")
    with pytest.raises(RunError, match=r"not a run \(it has config.yaml\)"):
        trainer(tmp_path).fit()
    assert (tmp_path / "config.yaml").read_text() == "mine: 1"


def test_an_experiment_is_not_overwritten_while_one_of_its_trials_is_trained(tmp_path):
    Run.create(tmp_path / "run", {}, seed=0).close()
    with Run.create(tmp_path / "run/trials/b-1", {}, seed=0):
        with pytest.raises(LockedError):
            Run.create(tmp_path / "run", {}, seed=0, overwrite=True)
        assert (tmp_path / "run/environment.json").exists()
    (tmp_path / "run/trials/b-1/notes.txt").write_text("mine")
    Run.create(tmp_path / "run/trials/b-2", {}, seed=0).close()
    Run.create(tmp_path / "run", {}, seed=0, overwrite=True).close()
    assert sorted(p.name for p in (tmp_path / "run/trials").rglob("*")) == [
        "b-1",
        "lock",
        "notes.txt",
    ]
    Run.create(tmp_path / "run/trials/b-1", {}, seed=0).close()


# Lost folders.


def move(folder):
    while not all((path / "manifest.json").exists() for path in folder.glob("checkpoints/*")):
        time.sleep(0.01)  # a checkpoint is being written
    folder.rename(folder.with_name("moved"))


def delete(folder):
    move(folder)
    shutil.rmtree(folder.with_name("moved"))


def replace(folder):
    move(folder)
    Run.create(folder, {}, seed=9).close()


@pytest.mark.parametrize("policy", ["stop", "continue"])
@pytest.mark.parametrize("act", [delete, move, replace])
@pytest.mark.parametrize("hook", ["on_epoch_end", "on_checkpoint"])
def test_a_folder_that_is_lost_ends_the_training_within_a_chunk(act, hook, policy, tmp_path):
    folder = tmp_path / "run"
    lost, steps = drill.At(hook, 2, lambda: act(folder)), []

    class Watch(et.Callback):
        def on_steps_end(self, event, metrics):
            if lost.left <= 0:
                steps.append(event.step)

    with pytest.raises(RunLostError, match="deleted, moved or replaced"):
        trainer(folder, lost, Watch(), on_full_disk=policy).fit()
    assert len(steps) <= 1
    assert folder.exists() == (act is replace)
    if act is replace:
        assert Run.open(folder, lock=False).checkpoints.names() == []
    if act is not delete:
        assert trainer(tmp_path / "moved").resume().reason is et.Reason.LENGTH


# Reading beside a training.


def test_loading_beside_a_training_says_nothing_and_never_fails(tmp_path):
    folder, ended, found = tmp_path / "run", threading.Event(), []
    phase = small.phase(steps=20)
    saving = et.ModelCheckpoint(et.Steps(2), keep_last=1)
    trainer = small.trainer(phase, run=folder, callbacks=[saving])
    reader = small.trainer(phase)

    def train():
        trainer.fit()
        ended.set()

    thread = threading.Thread(target=train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread.start()
        while not ended.is_set():
            if any(folder.glob("checkpoints/*/manifest.json")):
                found.append(float(reader.load(folder)["a"]))
        thread.join()
    assert len(found) > 2
    assert found[-1] < found[0]


@pytest.mark.parametrize("moment", [1, 2], ids=["its own arrays", "those that it shares"])
def test_a_checkpoint_pruned_while_it_is_read_is_read_again(moment, tmp_path, monkeypatch):
    from etude.run.checkpoints import Shared, folder

    writer = CheckpointStore(tmp_path)
    reader = CheckpointStore(tmp_path, beside_writer=True)
    original, read = folder.read_arrays, []

    def save(name, data):
        writer.save(name, {"a": data}, {}, {"best": Shared.of({"": data})})
        writer.wait()

    def prune_first(place, keys):
        read.append(place)
        if len(read) == moment:
            save("second", small.DATA + 1)
            writer.remove("first")
        return original(place, keys)

    save("first", small.DATA)
    monkeypatch.setattr(folder, "read_arrays", prune_first)
    (tmp_path / "third" / "arrays-000009.orbax-checkpoint-tmp").mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = reader.restore()
    assert restored.name == "second"
    assert all((array == small.DATA + 1).all() for array in restored.arrays.values())


def test_a_table_is_not_written_to_a_file_called_minus(tmp_path, monkeypatch):
    from etude.cli.commands import HistoryOptions, history
    from etude.errors import UsageError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="takes the name of a file; got '-'"):
        history(["run"], HistoryOptions(csv=Path("-")))
