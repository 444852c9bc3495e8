"""`etude train RECIPE --devices N`, on the two fake devices of the tests."""

import pytest

from etude.run import History, Run


def test_trained_on_two_devices_and_gone_on_with_on_one(etude):
    code, out, err = etude("train", "tiny", "--fast", "--devices", 2, "--run", "two")
    assert (code, err.count("Traceback")) == (0, 0), err
    assert Run.open("two", lock=False).config["devices"] == 2
    code, alone, _ = etude("train", "tiny", "--fast", "--run", "one")
    assert code == 0
    table = [text.splitlines()[-1].split() for text in (out, alone)]
    assert table[0][0] == table[1][0]
    two, one = (History.open(name)["train/loss"].value for name in ("two", "one"))
    assert two == pytest.approx(one, rel=1e-5)
    code, _, err = etude("resume", "two", "--steps", 48, "--devices", 1)
    assert code == 0, err
    assert Run.open("two", lock=False).config["devices"] == 1
    [event] = [record for record in History.open("two") if record.get("event") == "resume"]
    assert event["changes"]["devices.mesh"] == ["data=2", "data=1"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--devices", 3], "got 2 (cpu), expected 3"),
        (["--devices", 0], "--devices"),
        (["--devices", "many"], "expected a number of devices, or 'all'; got 'many'"),
        (["--num-processes", 2], "--num-processes needs --coordinator"),
        (["--coordinator", "auto", "--process-id", 0], "the cluster says it"),
        (["--coordinator", "here", "--num-processes", 2], "HOST:PORT"),
        (["--coordinator", "a:1", "--num-processes", 2], "--process-id"),
        (["--coordinator", "a:1", "--num-processes", 2, "--process-id", 2], "from 0 to 1"),
    ],
)
def test_bad_input_is_one_message(etude, line, words):
    code, _, err = etude("train", "tiny", *line)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
