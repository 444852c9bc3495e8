"""Going on: with other settings, for longer, from an older checkpoint, without a history."""

import shlex
import shutil

import drill
import jax
import optax
import pytest
import small

import etude as et
from etude.errors import CheckpointError, RunError
from etude.run import History, Run


def trainer(folder, *callbacks, steps=20, seed=0, **options):
    """Keeps all its checkpoints, one each five steps; `options` are of the learner or the phase."""
    inner = {
        name: options.pop(name)
        for name in ("repeat", "rate", "clip_norm", "precision")
        if name in options
    }
    rate = inner.pop("rate", 0.1)
    rule = small.rule("a", noise=0.1)
    learner = et.Learner(rule, optax.sgd(rate), lambda m: m["a"], "a", **inner)
    phase = small.phase(
        learner, steps=steps, validation=et.Validation(small.data(), every=et.Steps(4)), **options
    )
    listed = [et.ModelCheckpoint(et.Steps(5), keep_last=100), *callbacks]
    return small.trainer(phase, run=folder, callbacks=listed, seed=seed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A whole run, and one that broke off at step 18, with a checkpoint at 15."""
    folder = tmp_path_factory.mktemp("runs")
    trainer(folder / "whole").fit()
    with pytest.raises(ZeroDivisionError):
        trainer(folder / "cut", drill.At("on_checkpoint", 4, lambda: 1 / 0)).fit()
    return folder


@pytest.fixture
def cut(runs, tmp_path):
    return shutil.copytree(runs / "cut", tmp_path / "cut")


@pytest.fixture
def whole(runs, tmp_path):
    return shutil.copytree(runs / "whole", tmp_path / "whole")


def resumptions(records):
    return [record for record in records if record.get("event") == "resume"]


# Other settings.


def test_other_settings_are_refused_with_got_and_expected(cut):
    history = drill.history(cut)
    with pytest.raises(et.ResumeError) as caught:
        trainer(cut, et.EarlyStopping(), repeat=2, rate=0.2, clip_norm=1.0).resume()
    lines = str(caught.value).splitlines()
    assert "  phases.fit.learner.repeat: got 2, expected 1" in lines
    assert "  phases.fit.learner.clip_norm: got 1.0, expected None" in lines
    assert "  phases.fit.learner.optimizer.1.step_size: got -0.2, expected -0.1" in lines
    assert "  callbacks.EarlyStopping.patience: got 10, expected '(absent)'" in lines
    assert lines[-1].endswith("trainer.resume(changes='allow')")
    assert drill.history(cut) == history
    with pytest.raises(et.ResumeError, match="seed: got 1, expected 0"):
        trainer(cut, seed=1).resume()


def test_allowed_changes_take_effect_and_are_in_the_history(cut):
    result = trainer(cut, rate=0.2).resume(changes="allow")
    (event,) = resumptions(result.history)
    assert event["step"] == 15
    assert event["changes"] == {"phases.fit.learner.optimizer.1.step_size": [-0.1, -0.2]}
    assert small.steps_of(result.history) == list(range(1, 21))
    by_hand = trainer(cut).load(checkpoint="step-15")
    assert drill.weights_of(by_hand) != drill.weights(result)
    # From now on these are the run's settings, and the old ones would be others.
    assert drill.weights(trainer(cut, rate=0.2).resume()) == drill.weights(result)
    with pytest.raises(et.ResumeError, match=r"got -0.1, expected -0.2"):
        trainer(cut).resume()


def test_an_injected_rate_changes_as_well(tmp_path):
    def run(rate, steps, **how):
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
        learner = et.Learner(small.rule("a"), optimizer, lambda m: m["a"])
        one = small.trainer(small.phase(learner, steps=steps), run=tmp_path / "run")
        return one.resume(**how) if how else one.fit()

    run(0.1, 10)
    result = run(0.3, 20, changes="allow")
    rates = [record["train/learning_rate"] for record in result.history if "train/loss" in record]
    assert rates == pytest.approx([0.1] * 10 + [0.3] * 10)


def test_another_seed_gives_other_numbers_if_allowed(cut):
    again = shutil.copytree(cut, cut.parent / "again")
    other = trainer(cut, seed=1).resume(changes="allow")
    same = trainer(again).resume()
    assert small.steps_of(other.history)[-1] == 20
    assert drill.weights(other) != drill.weights(same)


def test_another_generator_is_refused_by_name_and_can_be_allowed(cut):
    with jax.default_prng_impl("rbg"):
        with pytest.raises(et.ResumeError, match="prng_impl: got 'rbg', expected 'threefry"):
            trainer(cut).resume()
        result = trainer(cut).resume(changes="allow")
    assert small.steps_of(result.history) == list(range(1, 21))


def test_where_leaves_differ_the_settings_that_do_are_said(cut):
    wide, half = "enable_x64: got True, expected False", r"precision: got 'float16', expected"
    with jax.numpy_dtype_promotion("standard"):  # a loss in half precision, with its targets
        with jax.enable_x64(True), pytest.raises(et.ResumeError, match=wide):
            trainer(cut).resume()
        for changes in ("refuse", "allow"):
            with pytest.raises(et.ResumeError, match=half):
                trainer(cut, precision="float16").resume(changes=changes)


def test_an_executor_asked_for_by_name_is_compared_with_the_one_that_ran(tmp_path):
    small.trainer(small.phase(), run=tmp_path / "run").fit()
    small.trainer(small.phase(), kind="loop", run=tmp_path / "run").resume()
    small.trainer(small.phase(), run=tmp_path / "run").resume()
    other = small.trainer(small.phase(kind="dispatch"), kind="dispatch", run=tmp_path / "run")
    with pytest.raises(et.ResumeError, match=r"executor: got 'dispatch', expected 'loop'"):
        other.resume()


# Longer and shorter.


@pytest.mark.parametrize("state", ["cut", "whole"])
def test_a_phase_that_only_got_longer_trains_on(state, request, tmp_path):
    folder = request.getfixturevalue(state)
    result = trainer(folder, steps=30).resume()
    straight = trainer(tmp_path / "straight", steps=30).fit()
    assert drill.weights(result) == drill.weights(straight)
    assert result.reasons == (("fit", et.Reason.LENGTH),)
    assert small.steps_of(result.history) == list(range(1, 31))
    (event,) = resumptions(result.history)
    assert event["changes"] == {"phases.fit.length": [20, 30]}
    # And once more: nothing is to be done.
    again = trainer(folder, steps=30).resume()
    assert again.history == result.history
    assert drill.weights(again) == drill.weights(straight)


def test_the_best_so_far_and_the_patience_go_on(tmp_path):
    def run(steps, **how):
        stopping = et.EarlyStopping(patience=3)
        keep = et.Best("valid/loss")
        one = trainer(tmp_path / "run", stopping, steps=steps, rate=1.2, keep=keep)
        return one.resume(**how) if how or steps > 8 else one.fit()

    first = run(8)
    assert first.reason is et.Reason.LENGTH
    second = run(40)
    # It diverges: the best is of the first part, and two of three patient validations as well.
    assert second.metrics == first.metrics
    assert drill.weights(second) == drill.weights(first)
    assert second.reason is et.Reason.PATIENCE
    assert small.steps_of(second.history)[-1] == 16
    # What ended by patience does not go on for being longer, only for more patience, counted anew.
    assert small.steps_of(run(60).history)[-1] == 16
    patient = trainer(
        tmp_path / "run", et.EarlyStopping(patience=5), steps=60, rate=1.2,
        keep=et.Best("valid/loss"),
    )  # fmt: skip
    assert small.steps_of(patient.resume(changes="allow").history)[-1] == 40


def test_a_shorter_phase_is_refused_or_ends_at_once(cut):
    with pytest.raises(et.ResumeError, match=r"phases.fit.length: got 10, expected 20"):
        trainer(cut, steps=10).resume()
    result = trainer(cut, steps=10).resume(changes="allow")
    assert result.reason is et.Reason.LENGTH
    assert small.steps_of(result.history) == list(range(1, 16))
    assert result.metrics == {
        "valid/loss": [r["valid/loss"] for r in result.history if "valid/loss" in r][-1]
    }
    assert [r["step"] for r in result.history if "valid/loss" in r] == [4, 8, 12, 15]


def test_a_phase_behind_cannot_grow_unseen(tmp_path):
    def build(first, second):
        return small.trainer(
            small.phase(name="one", steps=first), small.phase(name="two", steps=second),
            run=tmp_path / "run",
        )  # fmt: skip

    build(4, 4).fit()
    assert build(4, 6).resume().history[-1]["global_step"] == 10
    with pytest.raises(et.ResumeError, match=r"one.length: got 5, expected 4 \(the run is past"):
        build(5, 6).resume()
    result = build(5, 6).resume(changes="allow")
    assert result.history[-1]["changes"] == {"phases.one.length": [4, 5]}


def test_a_limit_that_was_raised_goes_on(tmp_path):
    def build(limit):
        return trainer(tmp_path / "run", limit=limit)

    assert build(et.Seconds(1e-9)).fit().reason is et.Reason.TIME
    assert build(et.Seconds(1e-8)).resume().reason is et.Reason.TIME
    assert build(None).resume().reason is et.Reason.LENGTH


# Checkpoints.


def test_an_older_checkpoint_is_gone_back_to(cut, runs):
    known = sorted(path.name for path in (cut / "checkpoints").iterdir())
    assert known == ["000000005-fit", "000000010-fit", "000000015-fit"]
    load = trainer(cut).load
    assert drill.weights_of(load(checkpoint="step-5")) != drill.weights_of(load())
    with pytest.raises(CheckpointError, match=r"no checkpoint 'step-7'.*'000000005-fit'"):
        trainer(cut).resume(checkpoint="step-7")
    with pytest.raises(CheckpointError, match=r"no checkpoint '000000011-fit'.*'000000010-fit'"):
        trainer(cut).load(checkpoint="000000011-fit")

    other = runs / "whole" / "checkpoints" / "000000005-fit"
    for wrong in ("", ".", "..", str(other)):
        with pytest.raises(CheckpointError, match=r"There is no checkpoint"):
            trainer(cut).resume(checkpoint=wrong)

    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trainer(cut, drill.At("on_steps_end", 1, fails)).resume(checkpoint="step-5")
    # What was later is gone, so that the next resume does not jump back to it.
    assert [path.name for path in (cut / "checkpoints").iterdir()] == ["000000005-fit"]
    trainer(cut).resume()
    assert drill.history(cut) == drill.history(runs / "whole")


@pytest.mark.parametrize("gone", ["folder", "content"])
def test_removed_checkpoints_do_not_restart_the_run(cut, gone):
    shutil.rmtree(cut / "checkpoints")
    if gone == "content":
        (cut / "checkpoints").mkdir()
    history = drill.history(cut)
    with pytest.raises(et.ResumeError, match=r"All checkpoints .* are gone.*overwrite=True"):
        trainer(cut).resume()
    assert drill.history(cut) == history


def test_a_run_that_had_none_yet_begins_again(tmp_path, runs):
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path / "run", drill.At("on_checkpoint", 1, lambda: 1 / 0)).fit()
    trainer(tmp_path / "run").resume()
    assert drill.history(tmp_path / "run") == drill.history(runs / "whole")


# The history is convenience.


def flip(path, place, bits=4):
    content = bytearray(path.read_bytes())
    content[place] ^= bits
    path.write_bytes(content)


def newline(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\n", b" ", 5))


DAMAGES = {
    "deleted": (lambda path: path.unlink(), 15, "has 0 bytes.*of 15 of 15 steps are missing"),
    "emptied": (lambda path: path.write_bytes(b""), 15, "15 of 15 steps"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:150]), 15, "15 of 15 steps"),
    "a bracket flipped": (lambda path: flip(path, 0), 0, "line 1 cannot be read"),
    "a letter flipped": (lambda path: flip(path, 3), 0, "content differs"),
    "a byte that is no text": (lambda path: flip(path, 3, 128), 0, "line 1 cannot be read"),
    "lines joined": (newline, 15, "line 1 cannot be read.*of 15 of 15"),
    "something else": (lambda path: path.write_text("[1]\nnull\n"), 15, "2 lines cannot be read"),
    "rows deleted": (lambda path: rows(path).unlink(), 15, r"history\.bin .* has 0 bytes"),
    "rows cut": (
        lambda path: rows(path).write_bytes(rows(path).read_bytes()[:33]),
        7,
        "of 7 of 15",
    ),
    "a bit of a row flipped": (lambda path: flip(rows(path), 9), 0, "content differs"),
}


def rows(path):
    return path.with_suffix(".bin")


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_its_history_a_run_goes_on_and_says_what_is_missing(cut, damage, runs):
    spoil, missing, words = DAMAGES[damage]
    spoil(cut / "history.jsonl")
    with pytest.warns(UserWarning, match=words) as told:
        result = trainer(cut).resume()
    assert len(told) == 1
    whole, records = [*History.open(runs / "whole")], [*History.open(cut)]
    after = [record for record in whole if record["global_step"] > 15]
    assert records[-len(after) :] == after
    steps = small.steps_of(records)
    assert steps == sorted(set(steps))
    assert steps == small.steps_of(result.history)
    assert len(steps) == 20 - missing
    # It is whole again: the next resume has nothing to say.
    assert drill.weights(trainer(cut).resume()) == drill.weights(result)
    # An older checkpoint knows the old history; what belongs before it is kept.
    with pytest.warns(UserWarning, match="Training goes on from '000000010-fit'"):
        again = trainer(cut).resume(checkpoint="step-10")
    assert drill.weights(again) == drill.weights(result)
    steps = small.steps_of(again.history)
    assert steps == sorted(set(steps))
    assert steps[-10:] == list(range(11, 21))


# What one is told.


def test_the_way_on_is_that_of_how_the_run_was_made(tmp_path):
    folder = tmp_path / "of my own; with spaces"
    recipe = {"recipe": "tiny", "configuration": {}}

    def messages(config):
        def build(*callbacks, fault=None, **options):
            learner = small.learner("a", fault=fault)
            return small.trainer(
                small.phase(learner), run=folder, config=config, callbacks=callbacks, **options
            )

        signal = drill.At("on_epoch_end", 1, lambda: drill.send(drill.signal.SIGTERM))
        with pytest.raises(et.Interrupted) as interrupted:
            build(signal, overwrite=True).fit()
        with pytest.raises(RunError) as exists:
            build().fit()
        with pytest.raises(ZeroDivisionError) as failed:
            build(drill.At("on_epoch_end", 1, lambda: 1 / 0)).resume()
        with pytest.raises(et.NonFiniteError) as broken:
            build(fault=small.at(9)).resume()
        return (
            str(interrupted.value), str(exists.value), failed.value.__notes__[0],
            broken.value.__notes__[0],
        )  # fmt: skip

    interrupted, exists, failed, broken = messages(None)
    # The advice, followed.
    options = {"run": folder, "nonfinite": "skip"}
    skipping = small.trainer(small.phase(small.learner("a", fault=small.at(9))), **options)
    with pytest.raises(et.ResumeError, match="nonfinite: got 'skip', expected 'stop'"):
        skipping.resume()
    assert skipping.resume(changes="allow").history[-2]["train/skipped"] == 1
    assert interrupted.endswith("go on with: trainer.resume()")
    assert "(trainer.resume())" in exists
    assert "Once the cause is mended" in failed
    assert failed.endswith("trainer.resume()")
    assert "would end at the same step" in broken
    assert broken.endswith("trainer.resume(changes='allow')")
    for message in (interrupted, exists, failed, broken):
        assert "etude resume" not in message

    command = f"etude resume {shlex.quote(str(folder))}"
    interrupted, exists, failed, broken = messages(recipe)
    assert "'" in command
    assert interrupted.endswith(f"go on with: {command}")
    assert f"({command})" in exists
    assert failed.endswith(command)
    assert broken.endswith(f"{command} --changes allow --FIELD VALUE")


def test_a_configuration_that_changes_is_written_down(tmp_path):
    def build(rate):
        options = {"config": {"rate": rate}, "run": tmp_path / "run"}
        learner = et.Learner(small.rule("a"), optax.sgd(rate), lambda m: m["a"])
        return small.trainer(small.phase(learner), **options)

    build(0.1).fit()
    with pytest.raises(et.ResumeError):
        build(0.2).resume()
    assert Run.open(tmp_path / "run", lock=False).config == {"rate": 0.1}
    build(0.2).resume(changes="allow")
    assert Run.open(tmp_path / "run", lock=False).config == {"rate": 0.2}
