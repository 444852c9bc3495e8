"""`fit(resume="auto")`: the same script begins, goes on, and has nothing to do."""

import drill
import pytest
import small

import etude as et
from etude.training.resuming import goes_on


def trainer(folder, *callbacks, steps=small.STEPS):
    saving = et.ModelCheckpoint(et.Steps(5))
    return small.trainer(small.phase(steps=steps), run=folder, callbacks=[saving, *callbacks])


def fail():
    raise ZeroDivisionError


@pytest.mark.parametrize("epoch", [1, 3], ids=["before a checkpoint", "after one"])
def test_one_call_begins_goes_on_and_is_done(tmp_path, epoch):
    whole = trainer(tmp_path / "whole").fit()
    folder = tmp_path / "run"
    with pytest.raises(ZeroDivisionError):
        trainer(folder, drill.At("on_epoch_end", epoch, fail)).fit(resume="auto")
    assert len(list(folder.glob("checkpoints/*/manifest.json"))) == (2 if epoch == 3 else 0)
    for _ in range(2):
        result = trainer(folder).fit(resume="auto")
        assert drill.weights(result) == drill.weights(whole)
        assert drill.history(folder) == drill.history(tmp_path / "whole")
    longer = trainer(folder, steps=small.STEPS + 4).fit(resume="auto")
    assert longer.history[-1]["step"] == small.STEPS + 4
    with pytest.raises(et.ResumeError, match="length"):
        trainer(folder).fit(resume="auto")


def test_what_can_never_go_on_is_refused(tmp_path):
    with pytest.raises(et.ConfigurationError, match=r"'auto' or None; got 'step-5'.*resume\(check"):
        goes_on("step-5", tmp_path / "run", overwrite=False)
    with pytest.raises(et.ConfigurationError, match=r"got no folder: Trainer\("):
        small.trainer(small.phase()).fit(resume="auto")
    with pytest.raises(et.ConfigurationError, match=r"got overwrite=True"):
        small.trainer(small.phase(), run=tmp_path / "run", overwrite=True).fit(resume="auto")
    assert not (tmp_path / "run").exists()
