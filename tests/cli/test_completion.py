"""What a shell offers for the last word; the script of Bash runs in one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import etude as et
from etude.cli.completion import SCRIPTS
from etude.cli.table import BUILT_IN

LOADED = """
import sys
from etude.cli.main import main
code = main(["completion", "fish", "--", *sys.argv[1:]])
sys.exit("loaded JAX" if "jax" in sys.modules else code)
"""


@pytest.fixture
def runs(tmp_path):
    """Folders that look like runs, and one that does not."""
    record = "{recipe: tiny, configuration: {}, experiment: .}"
    for name in ("runs/tiny", "runs/tiny/trials/tiny-1", "runs/born/digits", ".hidden/run"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "environment.json").touch()
        (tmp_path / name / "config.yaml").write_text(record)
    (tmp_path / "runs/none").mkdir()
    return tmp_path


@pytest.fixture
def offered(etude, runs):
    """`offered(words)`, the last of which is completed."""

    def offered(*words, shell="fish"):
        code, out, err = etude("completion", shell, "--", *words)
        assert (code, err) == (0, "")
        return out.splitlines()

    return offered


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["re"], ["resume", "report"]),
        (["det"], ["detect"]),
        (["--v"], ["--version"]),
        (["train", "attractor/d"], ["attractor/digits"]),
        (["train", "ti"], ["tiny"]),
        (["train", "tiny", "--ov"], ["--overwrite"]),
        (["train", "tiny", "--overwrite", "--ov"], []),
        (["train", "tiny", "--optimizer.k"], ["--optimizer.kind"]),
        (["train", "tiny", "--optimizer.kind", ""], ["sgd", "adam"]),
        (["train", "tiny", "--optimizer.kind=a"], ["--optimizer.kind=adam"]),
        (["train", "no-such", "--ov"], ["--overwrite"]),
        (["train", "--config", ""], []),
        (["resume", ""], ["runs/tiny", "runs/born/digits"]),
        (["resume", "runs/b"], ["runs/born/digits"]),
        (["resume", "runs/tiny/"], ["runs/tiny/trials/tiny-1"]),
        (["resume", "runs/tiny", "--optimizer.k"], ["--optimizer.kind"]),
        (["resume", "runs/tiny", "--changes", ""], ["refuse", "allow"]),
        (["resume", "--changes", "allow", "runs/t"], ["runs/tiny"]),
        (["evaluate", "runs/tiny", "--recipe", "ti"], ["tiny"]),
        (["evaluate", "runs/tiny", "--s"], ["--split"]),
        (["evaluate", "runs/tiny", ""], []),
        (["report", "runs/tiny", ""], ["runs/tiny", "runs/born/digits"]),
        (["list", "runs", "--sort", "w"], ["when"]),
        (["list", ""], []),
        (["report", "--", "runs/t"], []),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["detect", "--sl"], ["--slides"]),
        (["detect", ""], []),
    ],
    ids=" ".join,
)
def test_the_last_word_is_completed(words, expected, offered):
    assert offered(*words) == expected


def test_a_recipe_offers_all_that_its_training_takes(offered):
    found = offered("train", "tiny", "--")
    assert {"--run", "--overwrite", "--config", "--steps", "--optimizer.lr", "--help"} < {*found}
    assert offered("predict", "runs/tiny", "--") == ["--recipe", "--help"]  # it has no such verb


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["resume", "runs/tiny", "--changes", "="], ["refuse", "allow"]),
        (["resume", "runs/tiny", "--changes", "=", "al"], ["allow"]),
        (["resume", "runs/tiny", "--changes", "=", "allow", "--ch"], ["--checkpoint"]),
        (["train", "my_lines", ":", "mine", ""], []),
    ],
    ids=["equals", "value", "behind", "colon"],
)
def test_what_bash_takes_apart_is_put_together(words, expected, offered):
    assert offered(*words, shell="bash") == expected


@pytest.mark.skipif(not shutil.which("bash"), reason="needs Bash")
def test_the_script_of_bash_completes_in_bash(runs, tmp_path):
    (tmp_path / "runs/two words").mkdir()
    for file in ("environment.json", "config.yaml"):
        shutil.copy(tmp_path / "runs/tiny" / file, tmp_path / "runs/two words")
    script = f"""
etude() {{ {sys.executable} -m etude.cli.main "$@"; }}
source <(etude completion bash)
complete -p etude
for line in "tr" "train digits-" "resume runs/tw" "evaluate runs/tiny --changes = "; do
    COMP_WORDS=(etude $line); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _etude
    printf '%s\\n' "${{#COMPREPLY[@]}} ${{COMPREPLY[0]-}}"
done
COMP_WORDS=(etude history ""); COMP_CWORD=2; _etude
echo ${{COMPREPLY[@]}}
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(et.__file__).parents[1])}
    command = ["bash", "--norc", "-euc", script]
    done = subprocess.run(command, cwd=runs, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "complete -o default -F _etude etude",
        "1 train",
        "1 digits-two-phase",
        r"1 runs/two\ words",
        "0 ",
        r"runs/tiny runs/two\ words runs/born/digits",
    ]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_asks_for_its_own_shell(shell, etude):
    """Whoever has the shell reads it without an error."""
    code, out, _ = etude("completion", shell)
    assert code == 0
    assert f"etude completion {shell} -- " in out
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=out.encode()).returncode == 0


@pytest.mark.parametrize(
    "line", ["tr", "train ", "resume ", "resume runs/tiny --changes ", "evaluate runs/tiny --"]
)
def test_names_are_offered_without_jax(line, runs):
    subprocess.run([sys.executable, "-c", LOADED, *line.split(" ")], cwd=runs, check=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "The name of a shell comes first; got nothing. Known: bash, zsh, fish."),
        (["fsh"], "got 'fsh'. Did you mean 'fish'"),
    ],
    ids=["none", "misspelt"],
)
def test_another_shell_is_refused_by_name(words, told, etude):
    code, _, err = etude("completion", *words)
    assert (code, told in err) == (2, True)


def test_every_kind_of_input_of_our_commands_is_completed(offered):
    """But files, which the shell completes itself."""
    kinds = {command.inputs.partition(" ")[0] for command in BUILT_IN.values()} - {""}
    assert kinds == {"RECIPE", "RUN", "RUN...", "SHELL", "[FOLDER]"}
