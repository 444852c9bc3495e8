"""How the processes of one training begin: with the same settings, and with one run.

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp()) / "run"
>>> opened(lambda: Run.create(folder, {}, seed=0), folder).writes  # this process is alone
True
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from etude.engine.processes import processes
from etude.run import Run
from etude.run.environment import versions
from etude.training.subject import Subject


def agree_on(subject: Subject) -> None:
    """Does nothing if all processes train the same with the same code.

    Raises `ConfigurationError` in each of them, with what differs, if they do not.
    """
    if not processes().alone:
        facts = {f"version of {name}": version for name, version in versions().items()}
        processes().all_agree({**subject.fingerprint(), **facts, "code of etude": _code()})


def opened(open_run: Callable[[], Run], folder: Path) -> Run:
    """The run in a folder: the first process opens it to write, then the others to read.

    Raises in every process what `open_run` raises, or what keeps another from seeing the folder.
    """
    together, made = processes(), list[Run]()
    together.first_says(lambda: made.append(open_run()))
    try:
        return together.all_do(lambda: made[0] if made else Run.open(folder, lock=False))
    except BaseException:
        for run in made:
            run.close()
        raise


@cache
def _code() -> str:
    """A digest of the package: another version of it may count steps or draw orders otherwise."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
