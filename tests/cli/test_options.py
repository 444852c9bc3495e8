"""Which words of a command line are inputs, and which are values."""

import pytest
import tiny_recipe as tiny

from etude.cli.fields import arity, leaves
from etude.cli.options import parse, words
from etude.cli.training import TrainOptions

KNOWN = arity(leaves(TrainOptions) | leaves(tiny.Tiny))


@pytest.mark.parametrize(
    ("line", "inputs", "options"),
    [
        ("--steps 3 a b", ["a", "b"], {"steps": ["3"]}),
        ("a --steps=3 b", ["a", "b"], {"steps": ["3"]}),
        ("--overwrite a", ["a"], {"overwrite": []}),
        ("--overwrite false a", ["a"], {"overwrite": ["false"]}),
        ("--widths 3 4 a", [], {"widths": ["3", "4", "a"]}),
        ("--widths=3 4 --steps 5 a", ["a"], {"widths": ["3", "4"], "steps": ["5"]}),
        ("--optimizer.lr -1e-3 -x", ["-x"], {"optimizer.lr": ["-1e-3"]}),
        ("--unknown 3 a --fast b", ["b"], {"unknown": ["3", "a"], "fast": []}),
        ("--steps -- --steps", ["--steps"], {"steps": []}),
    ],
)
def test_an_option_takes_as_many_values_as_its_field(line, inputs, options):
    found = parse(line.split(), KNOWN)
    assert (found.inputs, found.options, found.problems) == (inputs, options, [])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tiny --steps 1 2", "--steps takes one value; got 1 2."),
        ("tiny --steps 1 2 3", "--steps takes one value; got 1 2 3."),
        ("tiny --overwrite 7", "--overwrite takes no value; got 7."),
        ("--steps 1 tiny", "The name of a recipe comes first; got nothing before --steps."),
        ("tiny tiny", "The name of a recipe comes first, and nothing else; got 'tiny' 'tiny'"),
        ("", "The name of a recipe comes first; got nothing. See `etude list`."),
        ("tiny --run=", "--run takes one value, PATH|none; got none."),
        ("tiny --optimizer {lr: 1}", "There is no option --optimizer. Did you mean 'optimizer.lr'"),
    ],
)
def test_words_that_belong_nowhere_are_refused_with_the_option_before_them(etude, line, words):
    code, _, err = etude("train", *line.split(maxsplit=2 if "{" in line else -1))
    assert code == 2
    assert words in err


def test_problems_of_the_command_and_of_the_recipe_come_together(etude):
    line = [
        "--overwrite",
        "7",
        "--run",
        "",
        "--stesp",
        "3",
        "--repeats",
        "9",
        "--config",
        "no.yaml",
    ]
    code, _, err = etude("train", "tiny", *line)
    assert code == 2
    for told in (
        "5 problems",
        "--overwrite takes no value; got 7",
        "--run takes one value",
        "no.yaml cannot be read",
        "--stesp. Did you mean 'steps'?",
        "--repeats: should be less than or equal to 5",
    ):
        assert told in err
    code, _, err = etude("train", "tinny", "--overwrite=maybe")
    assert "2 problems" in err
    assert "Did you mean 'tiny'?" in err


def test_the_words_of_a_line_are_read_as_that_line():
    line = ["runs/a", "--note=--x", "--widths", "4", "8", "--fast"]
    found = parse(line, KNOWN)
    assert words(found.inputs, found.options) == line
