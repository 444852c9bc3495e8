"""YAML that users write: read as meant, or refused with the place and the cure."""

import pytest
import tiny_recipe as tiny
import yaml
from hypothesis import example, given, strategies as st
from pydantic import Field

from etude.cli.configuring import configure, read_file
from etude.config import Config
from etude.errors import RunError, UsageError
from etude.run import Run
from etude.yaml_reader import YamlError, read_yaml

LETTERS = "abcdefghi"


def bomb(row, first):
    """Nine levels of ten: a billion values in a thousand characters."""
    levels = [f"a: &a {first}"]
    for before, after in zip(LETTERS, LETTERS[1:] + "j", strict=True):
        levels.append(f"{after}: &{after} {row.format(','.join([f'*{before}'] * 10))}")
    return "\n".join(levels)


@pytest.mark.parametrize("text", [bomb("[{}]", "[1,1]"), bomb("{{<<: [{}]}}", "{x: 1}")])
def test_an_alias_bomb_is_refused_before_it_is_built(text):
    with pytest.raises(YamlError, match="aliases multiply"):
        read_yaml(text)


def test_aliases_and_long_lists_that_are_harmless_are_read():
    assert read_yaml("a: &a [1, 2]\nb: [*a, *a]") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    assert read_yaml("a: &m {x: 1, y: 2}\nb: {<<: *m, y: 3}")["b"] == {"x": 1, "y": 3}
    assert len(read_yaml("[" + "1," * 3000 + "]")) == 3000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\nseed: 2", "line 2, column 1: 'seed' is given twice"),
        ("optimizer: {lr: 1, lr: 2}", "'lr' is given twice"),
        ("labels: 0100", "0100 is octal. Write 100 or 64, or '0100' for a text"),
        ("labels: -010", "Write -10 or -8"),
        ("a: &a [*a]", "contains itself"),
        ("a: &a {b: {c: *a}}", "contains itself"),
        ("? [1, 2]\n: 3", "a key is a text or a number"),
        ("a: 1\n---\nb: 2", "single document"),
        ("a: b: c", "line 1, column 5"),
        ("a: *nowhere", "undefined alias"),
        ("when: 2020-13-45", "month must be in"),
        ("a: \x00", "special characters"),
        ("[" * 2000, "nested too deeply"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_what_can_be_misunderstood_is_refused(text, words, tmp_path):
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert words in str(caught.value)
    (tmp_path / "given.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"given\.yaml is not clear YAML"):
        read_file(tmp_path / "given.yaml")


@pytest.mark.parametrize("text", ["", "\n", "# nothing but a comment\n", "---\n", "null", "\ufeff"])
def test_an_empty_file_configures_nothing(text, tmp_path):
    (tmp_path / "given.yaml").write_text(text, encoding="utf-8")
    assert read_file(tmp_path / "given.yaml") == {}


@pytest.mark.parametrize("word", ["yes", "no", "on", "Off", "true", "False"])
@pytest.mark.parametrize("field", ["seed: {}", "widths: [4, {}]", "optimizer: {{lr: {}}}"])
def test_a_boolean_is_no_number(word, field):
    with pytest.raises(UsageError, match=r"boolean|unable to parse"):
        configure(tiny.Tiny, read_yaml(field.format(word)), {})


@pytest.mark.parametrize("text", ["widths: !!set {8, 4}", "widths: [!!set {8}]"])
def test_a_set_is_no_list(text):
    with pytest.raises(UsageError, match=r"widths takes INT...; got a set, whose order nobody"):
        configure(tiny.Tiny, read_yaml(text), {})


class Several(Config):
    few: tuple[int, ...] = Field((1,), min_length=1)


def test_a_list_with_a_wrong_element_is_not_too_short_as_well():
    for words, told in ((["a"], "few.0: should be a valid int"), ([], "few: Tuple should have at")):
        with pytest.raises(UsageError, match=told) as refused:
            configure(Several, {"few": words}, {})
        assert "problems" not in str(refused.value)


def test_where_they_belong_booleans_and_texts_are_read():
    assert configure(tiny.Tiny, read_yaml("{fast: yes, note: no}"), {}).fast
    assert configure(tiny.Tiny, read_yaml("{fast: true, note: no}"), {}).note == "no"
    assert configure(tiny.Tiny, read_yaml("{note: 1:30}"), {}).note == "1:30"
    assert configure(tiny.Tiny, read_yaml("optimizer: {lr: 1e-3}"), {}).optimizer.lr == 1e-3


def test_the_command_line_reads_the_same_yaml():
    with pytest.raises(UsageError, match="--widths takes INT"):
        configure(tiny.Tiny, {}, {"widths": ["[1, true]"]})
    with pytest.raises(UsageError, match=r"--widths is not clear YAML.*0100 is octal"):
        configure(tiny.Tiny, {}, {"widths": ["[0100]"]})
    assert configure(tiny.Tiny, {}, {"note": ["[no list"]}).note == "[no list"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.sampled_from(["yes", "0100", "08", "1:30", "1e5", "0o17", "2020-01-01", "~", "=", "<<"])
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(PLAIN)
@example({"yes": "no", "0100": ["0100", "on"]})
def test_what_a_run_writes_is_read_as_it_was(value):
    assert read_yaml(yaml.safe_dump(value)) == value


def test_a_run_whose_configuration_was_made_unreadable_says_so(tmp_path):
    Run.create(tmp_path / "run", {"a": 1}, seed=0).close()
    (tmp_path / "run/config.yaml").write_text("a: 1\na: 2")
    with pytest.raises(RunError, match=r"config.yaml is not YAML: .*'a' is given twice"):
        _ = Run.open(tmp_path / "run", lock=False).config
