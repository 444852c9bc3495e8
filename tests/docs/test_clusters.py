"""The scripts of the page on clusters run as they stand there."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import etude

pytestmark = pytest.mark.usefixtures("listening")
PAGE = Path(__file__).parents[2] / "docs/guide/clusters.md"
TINY = Path(__file__).parents[1] / "cli/tiny_recipe.py"
LOOP, SLURM = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
#: Saves at once when it is asked to end, and tells that it can be asked.
SAVES = "trap 'exit 3' TERM; touch ready; while :; do read -t 1 <> pipe; done"


class Shell:
    """A folder with a script, and commands that are found before others."""

    def __init__(self, folder, script):
        self.folder, self.environment = folder, dict(os.environ)
        self.started = []
        self.environment["PATH"] = f"{folder}/bin:{os.environ['PATH']}"
        self.environment["PYTHONPATH"] = str(Path(etude.__file__).parents[1])
        self.environment.pop("XLA_FLAGS", None)
        (folder / "bin").mkdir()
        (folder / "script.sh").write_text(script)
        os.mkfifo(folder / "pipe")
        self.command("sleep", "exit 0")

    def command(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\necho $$ {name} $@ >> {self.folder}/told\n{text}\n")
        path.chmod(0o755)

    def start(self, *arguments):
        command = ["bash", "script.sh", *arguments]
        where = {"cwd": self.folder, "env": self.environment}
        self.started.append(subprocess.Popen(command, **where, start_new_session=True))
        return self.started[-1]

    def told(self, name):
        """The calls of a command."""
        return [call for _, call in self._calls() if call.split()[0] == name]

    def last(self):
        """The process of the last call."""
        return int(self._calls()[-1][0])

    def _calls(self):
        path = self.folder / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split(maxsplit=1) for line in lines]


@pytest.fixture
def shell(tmp_path):
    """Makes the shell of a script; what it has started ends with the test."""
    made = []

    def make(script):
        made.append(Shell(tmp_path, script))
        return made[-1]

    yield make
    for process in [process for one in made for process in one.started]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, process):
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, "the script has ended"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("text", "code", "times"),
    [
        ("exit 0", 0, 1),
        ("exit 2", 2, 1),
        ("exit 1", 1, 3),
        ("kill -9 $$", 137, 3),
        ("[ -e ready ] && exit 0; touch ready; exit 3", 0, 2),
        # Each of the first four crashes has made a checkpoint, in a folder of a trial.
        ("[ $(wc -l < told) -gt 8 ] || { mkdir -p 'a run'/x; date >> 'a run'/x/checkpoints.log; }; "
         "exit 1", 1, 7),
    ],
    ids=["done", "refused", "crashes", "killed", "interrupted", "progress"],
)  # fmt: skip
def test_the_loop_repeats_what_is_worth_it(shell, text, code, times):
    script = shell(LOOP)
    script.command("etude", text)
    assert script.start("tiny", "a run", "--seed", "1").wait(100) == code
    assert script.told("etude") == ["etude train tiny --run a run --resume auto --seed 1"] * times


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_loop_passes_a_signal_on_and_ends(shell, tmp_path, number):
    script = shell(LOOP)
    script.command("etude", SAVES)
    process = script.start("tiny", "run")
    wait_for((tmp_path / "ready").exists, process)
    process.send_signal(number)
    assert process.wait(100) == 3
    assert len(script.told("etude")) == 1


@pytest.mark.parametrize("tells", [True, False], ids=["told of the end", "cancelled"])
def test_the_job_of_slurm_is_put_back_if_slurm_has_told_of_its_end(shell, tmp_path, tells):
    script = shell(SLURM)
    script.command("srun", 'exec "$@"')
    script.command("etude", SAVES)
    script.command("scontrol", "")
    script.environment["SLURM_JOB_ID"] = "17"
    process = script.start()
    wait_for((tmp_path / "ready").exists, process)
    if tells:
        process.send_signal(signal.SIGUSR1)
    else:
        os.kill(script.last(), signal.SIGTERM)
    assert process.wait(100) == 3
    assert script.told("scontrol") == (["scontrol requeue 17"] if tells else [])


def test_the_manifest_is_yaml_of_one_process_for_each_index():
    [text] = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    service, job = yaml.safe_load_all(text)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completions"] == spec["parallelism"]
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == job["spec"]["template"]["metadata"]["labels"]
    codes = [
        rule.get("onExitCodes", {}).get("values") for rule in spec["podFailurePolicy"]["rules"]
    ]
    assert codes == [[2], [3], None]
    assert pod["restartPolicy"] == "Never"  # or a policy for failures is refused


@pytest.mark.slow
def test_a_training_killed_again_and_again_ends_with_the_same_bits(shell, tmp_path):
    script = shell(LOOP)
    script.command("etude", f'exec {sys.executable} {TINY} "$@"')
    size = ["--steps", "2000", "--repeats", "2", "--fast"]
    assert script.start("tiny", "whole", *size).wait(300) == 0
    process = script.start("tiny", "cut", *size)

    def written():
        return sum(path.stat().st_size for path in tmp_path.glob("cut/**/checkpoints.log"))

    kills = [
        (signal.SIGKILL, 0), (signal.SIGTERM, 30), (signal.SIGKILL, 60), (signal.SIGTERM, 0),
        (signal.SIGKILL, 90), (signal.SIGTERM, 40), (signal.SIGKILL, 1),
    ]  # fmt: skip
    for count, (number, more) in enumerate(kills, 2):
        wanted = written() + more
        wait_for(lambda n=count: len(script.told("etude")) == n, process)
        wait_for(lambda bytes=wanted: written() >= bytes, process)
        os.kill(script.last(), number)
    assert process.wait(300) == 0
    assert len(script.told("etude")) == len(kills) + 2
    for trial in (".", "trials/tiny-1"):
        for name in ("history.jsonl", "history.bin"):
            cut, whole = (tmp_path / run / trial / name for run in ("cut", "whole"))
            assert cut.read_bytes() == whole.read_bytes()
