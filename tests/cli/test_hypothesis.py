"""Command lines and configurations that nobody would write: a sentence, never a traceback."""

import tempfile
from pathlib import Path

import pytest
import tiny_recipe as tiny
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from etude.cli.configuring import configure
from etude.cli.fields import leaves
from etude.cli.main import main
from etude.errors import UsageError
from etude.recipe import Recipe
from etude.table import Table

FIELDS = set(leaves(tiny.Tiny))
OWN = {"run", "overwrite", "config"}
COMMANDS = ["train", "resume", "evaluate", "report", "list", "info", "trian"]

texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["0", "1", "-1", "1e-3", "nan", "null", "true", "sgd", "[1, 2]", "{a: 1}"]),
    st.sampled_from(["[", "{", "{lr: 0.1}", "--", "-x", "tiny", "\ud800", "1" * 5000]),
)
names = st.one_of(
    st.sampled_from(sorted(FIELDS | OWN | {"split"})),
    st.sampled_from(
        ["optimizer", "steps.lr", "stpes", "optimizer.lrr", "seed.", ".", "over-write"]
    ),
    st.text(min_size=1, max_size=8),
)
options = st.tuples(names, st.lists(texts, max_size=3), st.booleans())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
files = st.one_of(
    st.none(),
    st.dictionaries(names, values, max_size=4).map(lambda d: yaml.safe_dump(d).encode()),
    st.binary(max_size=20),
)


@st.composite
def command_lines(draw):
    line = [draw(st.one_of(st.sampled_from(COMMANDS), st.just("train"), texts))]
    line += draw(st.lists(st.one_of(st.just("tiny"), texts), max_size=2))
    for name, given_values, joined in draw(st.lists(options, max_size=4)):
        if joined and given_values:
            line.append(f"--{name}={given_values[0]}")
        else:
            line += [f"--{name}", *given_values]
    return line


def check(line, file, monkeypatch, capsys):
    """Runs a line with training patched out, and judges what it says and accepts."""
    accepted = []

    def run(self, config, folder, **how):
        accepted.append(config)
        return Table(("method",), ())

    monkeypatch.setattr(Recipe, "run", run)
    monkeypatch.setattr("etude.run.environment.environment", lambda seed: {
        "python": "3", "platform": "", "versions": {}, "devices": []})  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.chdir(folder)
        if file is not None:
            Path("given.yaml").write_bytes(file)
            line = [*line, "--config", "given.yaml"]
        code = main(line)
    out, err = capsys.readouterr()
    assert code in (0, 2) or "File name too long" in err
    assert "Traceback" not in out + err
    assert "unexpected" not in err
    assert (code == 0) == (err == "" or line == [])
    if accepted:
        written = [word[2:].partition("=")[0] for word in line if word.startswith("--")]
        used = {name.replace("-", "_") for name in written if name[:1].isascii()} - {""}
        assert {name for name in used if name[0].isalpha()} <= FIELDS | OWN


@pytest.mark.usefixtures("etude")
@settings(
    max_examples=10 * settings.default.max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(line=command_lines(), file=files)
def test_never_a_traceback_and_never_an_unknown_field(line, file, monkeypatch, capsys):
    check(line, file, monkeypatch, capsys)


@st.composite
def tiny_configurations(draw):
    return tiny.Tiny(
        seed=draw(st.integers(0, 2**31 - 1)),
        steps=draw(st.integers(1, 10**9)),
        widths=tuple(draw(st.lists(st.integers(), max_size=4))),
        # PyYAML does not read back its own unescaped line breaks of Unicode.
        note=draw(st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"))),
        fast=draw(st.booleans()),
        repeats=draw(st.integers(1, 5)),
        optimizer=tiny.Optimizer(
            lr=draw(st.floats(1e-9, 1e9)),
            kind=draw(st.sampled_from(["sgd", "adam"])),
            decay=draw(st.none() | st.floats(0, 1e9)),
        ),
    )


@given(config=tiny_configurations())
def test_what_a_run_writes_is_read_back_the_same(config):
    written = yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True)
    assert configure(tiny.Tiny, yaml.safe_load(written), {}) == config


@given(config=tiny_configurations())
def test_a_command_line_says_the_same_as_a_file(config):
    def words(value):
        return [str(v) for v in value] if isinstance(value, tuple) else [str(value)]

    given_values = {}
    for name in FIELDS:
        value = config
        for part in name.split("."):
            value = getattr(value, part)
        given_values[name] = words(value)
    # A text that looks like null, a list or a mapping is read as YAML.
    if config.note.lower() in ("none", "null") or config.note.startswith(("[", "{")):
        given_values.pop("note")
        config = config.model_copy(update={"note": tiny.Tiny().note})
    assert configure(tiny.Tiny, {}, given_values) == config


@given(content=st.dictionaries(names, values, min_size=1, max_size=3))
def test_a_file_with_an_unknown_field_is_refused_by_name(content):
    strange = {str(key) for key in content} - set(tiny.Tiny.model_fields)
    if not strange:
        return
    with pytest.raises(UsageError) as caught:
        configure(tiny.Tiny, content, {})
    assert all(name in str(caught.value) for name in strange)
