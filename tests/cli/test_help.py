"""`etude COMMAND --help`: usage, every option with its meaning, and an example."""

import subprocess
import sys

import pytest

from etude.cli.fields import leaves
from etude.cli.main import main
from etude.cli.table import BUILT_IN, find_command
from etude.entry_points import COMMANDS, offered

LOADED = """
import sys
from etude.cli.main import main
assert not any(main([name, "--help"]) for name in sys.argv[1:])
sys.exit(" ".join({"jax", "numpy", "matplotlib", "sklearn", "orbax"} & set(sys.modules)) or 0)
"""


@pytest.mark.parametrize("name", [*BUILT_IN, *offered(COMMANDS)])
def test_every_command_has_usage_options_and_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    command = find_command(name)
    head, *_ = out.splitlines()
    assert head.startswith(f"usage: etude {name} {command.inputs}".rstrip())
    assert command.summary in out
    assert out.endswith(f"Example:\n\n  etude {name} {command.example}".rstrip() + "\n")
    for option in leaves(command.options).values():
        assert option.description, f"--{option.name} has no description"
        assert f"  --{option.name} {option.kind}" in out
        assert option.description in out


def test_help_is_asked_for_before_a_bare_minus_minus_only(capsys):
    assert main(["report", "-h"]) == 0
    assert main(["report", "--", "-h"]) == 2
    assert "-h is not there" in capsys.readouterr().err


def test_the_help_of_our_commands_loads_nothing_heavy():
    names = [*BUILT_IN, "detect"]
    done = subprocess.run([sys.executable, "-c", LOADED, *names], capture_output=True)
    assert done.returncode == 0, done.stderr
