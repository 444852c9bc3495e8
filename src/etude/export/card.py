"""The model card: what a file of a trained model is, how good it is, and how to load it.

>>> card = Card(
...     "lines", "Fits a line.", (("trained", "2026-01-01"),), ("method", "test error"),
...     (("plain", "0.1 ± 0.02"),), archive=True)
>>> card.text().splitlines()[:5]
['# lines', '', 'Fits a line.', '', '- trained: 2026-01-01']
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

#: The files beside the card.
ARCHIVE, DEPLOYED, CARD = "model.safetensors", "model.stablehlo", "README.md"
#: What describes the deployed function.
DESCRIPTION = "model.json"
_LOADING = "## How to load it"
#: By what an export is known, in those of its files whose names others use too.
MARKS = {CARD: _LOADING, DESCRIPTION: '"StableHLO of jax.export"'}


@dataclass(frozen=True)
class Card:
    """What is said of a trained model.

    Attributes:
        title: what the card is headed by.
        summary: one line about the experiment.
        facts: (title, text) of where the model comes from.
        head, rows: the table of the results, means with their spread over seeds; no rows: none.
        own: the exported model's own measures on the test split.
        notes: (title, sentence) for who reads the results: the ceiling, the licence of the data.
        archive: whether `model.safetensors` is there.
        recipe: name of a recipe that no package offers, which the reader has to name again.
        deployed: what `model.json` says; None without it.
        configuration: of the recipe.
        citations: BibTeX entries.
    """

    title: str
    summary: str
    facts: Sequence[tuple[str, str]]
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    own: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[tuple[str, str]] = ()
    archive: bool = False
    recipe: str | None = None
    deployed: Mapping[str, Any] | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    citations: Sequence[str] = ()

    def text(self) -> str:
        """The card, as Markdown."""
        parts = [f"# {self.title}", self.summary, _list(self.facts), *self._results()]
        parts += [_LOADING, *(self._archived() if self.archive else ())]
        parts += [] if self.deployed is None else self._deployment(self.deployed)
        if self.configuration:
            listed = yaml.safe_dump(dict(self.configuration), sort_keys=False, allow_unicode=True)
            parts += ["## Configuration", f"```yaml\n{listed}```"]
        if self.citations:
            parts += ["## Citations", "```bibtex\n" + "\n\n".join(self.citations) + "\n```"]
        return "\n\n".join(parts) + "\n"

    def _results(self) -> list[str]:
        parts = ["## Results"]
        if self.rows:
            lines = [self.head, ["---"] * len(self.head), *self.rows]
            parts.append("\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines))
            parts.append("Means over seeds, with the sample standard deviation where several ran.")
        if self.own:
            found = ", ".join(f"{name} {value:.5g}" for name, value in self.own.items())
            parts.append(f"This model alone, on the test split: {found}.")
        if not self.rows and not self.own:
            parts.append("Not measured.")
        return [*parts, _list(self.notes)] if self.notes else parts

    def _archived(self) -> list[str]:
        told = "" if self.recipe is None else f", recipe={self.recipe!r}"
        return [
            f"`{ARCHIVE}` is the archive: every array of the model, to the bit, with the recipe "
            "and the configuration that rebuild it in the header. Any safetensors library reads "
            "it; with etude installed, and the data of the recipe where its model depends on them:",
            f'```python\nimport etude as et\n\nmodel = et.load_export("{ARCHIVE}"{told})\n```',
        ]

    def _deployment(self, said: Mapping[str, Any]) -> list[str]:
        versions = ", ".join(f"{name} {number}" for name, number in said["versions"].items())
        arrays = [
            f'{name} = np.zeros({_shape(one["shape"])}, "{one["dtype"]}")'
            for name, one in said["inputs"].items()
        ]
        code = [
            "from pathlib import Path",
            "",
            "import numpy as np",
            "from jax import export",
            "",
            f'content = Path("{DEPLOYED}").read_bytes()',
            "function = export.deserialize(bytearray(content))",
            *arrays,
            f"output = function.call({', '.join(said['inputs'])})",
        ]
        rows = [
            ("takes", f"{said['takes']}. {_arrays(said['inputs'])}"),
            ("gives", f"{said['gives']}. {_arrays(said['outputs'])}"),
            ("preparation", said["preparation"]),
            *([("classes", ", ".join(said["classes"]))] if "classes" in said else ()),
            ("platforms", ", ".join(said["platforms"])),
            ("versions", f"made by {versions}; runs {said['runs']}"),
        ]
        return [
            f"`{DEPLOYED}` is the deployment: one function, as StableHLO, for batches of any "
            "length from 1 on, which needs JAX and flatbuffers alone. It is no archive: see the "
            "versions.",
            "```python\n" + "\n".join(code) + "\n```",
            _list(rows),
        ]


def _arrays(described: Mapping[str, Any]) -> str:
    if set(described) == {"shape", "dtype"}:
        described = {"One array": described}
    return "; ".join(
        f"{name}: {one['dtype']} ({', '.join(map(str, one['shape']))})"
        for name, one in described.items()
    )


def _shape(shape: Sequence[int | str]) -> str:
    """Of an example with four samples.

    >>> _shape(["batch", 8])
    '(4, 8)'
    """
    sizes = [size if isinstance(size, int) else 4 for size in shape]
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def _list(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {title}: {text}" for title, text in rows)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
