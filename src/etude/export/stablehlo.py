"""A trained function as StableHLO: it runs where JAX is, without etude and the code of the model.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "model.stablehlo"
>>> doubled = Exportable(
...     lambda x: 2 * x, {"x": jax.ShapeDtypeStruct((3,), "float32")}, "numbers", "their doubles")
>>> said = write_stablehlo(doubled, path, platforms=("cpu",))
>>> from jax import export
>>> export.deserialize(bytearray(path.read_bytes())).call(np.ones((5, 3), np.float32)).shape
(5, 3)
"""

import hashlib
import inspect
import json
import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from etude.errors import ConfigurationError, EtudeError, ModelError, memory_explained, suggest
from etude.export.extra import needed
from etude.export.files import is_text, refuse_missing_folder
from etude.kinds import is_a, is_mapping
from etude.run.whole_file import write_whole

#: What JAX can lower for.
Platform = Literal["cpu", "cuda", "rocm", "tpu"]

#: Months and weeks in which JAX keeps an exported function running: in a later version, and in
#: one that is earlier than that of the export.
BACKWARD, FORWARD = "6 months", "3 weeks"

#: Entries of the JSON file that are there for some functions only.
_OPTIONAL = {"classes"}


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of batches that is traced on batches of one.

    For models that ask for the length of their batch, which an export does not know. The program
    takes whole batches all the same.

    >>> one_by_one(lambda x: x * len(x))(np.ones((3, 2))).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """

    @wraps(function)
    def one(*samples: Any) -> Any:
        batch = function(*(sample[None] for sample in samples))
        return jax.tree.map(lambda values: values[0], batch)

    return jax.vmap(one)


@dataclass(frozen=True)
class Exportable:
    """What is deployed of a trained model: a function of batches.

    Attributes:
        function: `function(*inputs)`, one batch for each of `inputs`, all of the same length; a
            batch, or a dict of batches. It is traced with a length that is not known: `x.shape[0]`
            rather than `len(x)`.
        inputs: shape and dtype of one sample of each input, by name, in the order of `function`,
            whose arguments may have other names. A random key is no input: take a seed.
        takes: what the inputs are, with units; a phrase.
        gives: what comes out, with units; a phrase.
        preparation: which steps from raw data to these inputs the function has in it, and which
            the caller makes; sentences, as "None is needed.".
        classes: names of the classes, where the last axis of the output has one for each.

    Raises `ConfigurationError` for what is none of these, each by its name.
    """

    function: Callable[..., Any]
    inputs: Mapping[str, jax.ShapeDtypeStruct]
    takes: str
    gives: str
    preparation: str = "It is not said; ask who exported the function."
    classes: tuple[str, ...] = ()

    def __post_init__(self):
        if not callable(self.function):
            raise _wrong("function is a function of batches", self.function)
        if not is_mapping(self.inputs):
            raise _wrong("inputs are shapes and dtypes by name", self.inputs)
        for name, one in self.inputs.items():
            if not is_a(name, str) or not name.isidentifier() or keyword.iskeyword(name):
                raise _wrong("names of inputs are names of Python, which the card writes", name)
            if not is_a(one, jax.ShapeDtypeStruct):
                raise _wrong(f"the input {name!r} is a jax.ShapeDtypeStruct", one)
        keys = [name for name, one in self.inputs.items() if _is_key(one)]
        if keys or not self.inputs:
            got = f"random keys: {', '.join(keys)}" if keys else "none"
            raise ConfigurationError(f"Exportable: inputs are arrays, one or more; got {got}.")
        for name in ("takes", "gives", "preparation"):
            if not is_text(getattr(self, name)):
                raise _wrong(f"{name} is a text in UTF-8", getattr(self, name))
        if not is_a(self.classes, tuple) or not all(map(is_text, self.classes)):
            raise _wrong("classes are names, as ('cat', 'dog')", self.classes)
        _refuse_other_order(self.function, list(self.inputs))


def _wrong(said: str, got: Any) -> ConfigurationError:
    return ConfigurationError(f"Exportable: {said}; got {got!r}.")


def _refuse_other_order(function: Callable[..., Any], names: list[str]) -> None:
    """Inputs are given by place: those with the names of arguments stand in their places."""
    try:
        arguments = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # it has no signature
        return
    for place, name in enumerate(names):
        if name in arguments and arguments.index(name) != place:
            raise ConfigurationError(
                f"Exportable: the input {name!r} is at place {place + 1}, and the argument of that "
                f"name at place {arguments.index(name) + 1}. Write the inputs in the order of the "
                f"function, which takes {', '.join(arguments)}."
            )


def write_stablehlo(
    exportable: Exportable,
    path: str | Path,
    *,
    platforms: Sequence[str] = ("cpu", "cuda"),
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `exportable`, for batches of any length from 1 on, for `jax.export.deserialize`.

    The weights are in it, as constants. Beside it comes a JSON file of the same name: the inputs
    and outputs, the platforms, the preparation, and the versions that made it, which the binary
    alone does not show. On one platform the function gives, to the bit, what
    `jax.jit(exportable.function)` gives there; of a batch of one to the last digit, because XLA
    drops that axis where it knows the length, and then fuses other operations.

    Args:
        exportable: what is written.
        path: the file, which is replaced once the new one is whole.
        platforms: on which it shall run, of "cpu", "cuda", "rocm" and "tpu".
        about: further entries of the JSON file, with values of JSON.

    Returns:
        What the JSON file says.

    Raises:
        ModelError: the function fails, or cannot be exported, and the message is that of JAX; or
            gives something else than batches of numbers; or has 64-bit inputs, and JAX's 64-bit
            mode is off.
        ConfigurationError: no platform or an unknown one; another number of classes than any output
            has on its last axis; a path that ends with .json, or whose folder is not there; `about`
            with an entry that the file has already, or that JSON cannot hold; or the package
            flatbuffers is not installed.
        OSError: a file cannot be written.
    """
    path = Path(path)
    about = {} if about is None else about
    _check(path, platforms, about)
    needed("flatbuffers", "StableHLO")
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    inputs = [
        jax.ShapeDtypeStruct((batch, *sample.shape), sample.dtype)
        for sample in exportable.inputs.values()
    ]
    try:
        with memory_explained():
            exported = export.export(
                jax.jit(exportable.function), platforms=tuple(dict.fromkeys(platforms))
            )(*inputs)
            content = bytes(exported.serialize())
    except EtudeError:
        raise
    except Exception as error:  # whatever the function raises
        raise ModelError(
            f"The function cannot be exported for {', '.join(platforms)}: "
            f"{type(error).__name__}: {error}{_cure(error)}"
        ) from error
    for (name, given), taken in zip(exportable.inputs.items(), exported.in_avals, strict=True):
        if taken.dtype != given.dtype:
            raise ModelError(
                f"The input {name!r} is {given.dtype}, which JAX takes with jax_enable_x64 only. "
                f"Switch that on, or take {taken.dtype}."
            )
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    if not _are_batches(outputs, batch):
        raise ModelError(
            "The function gives a batch of numbers, or a dict of them, each as long as the inputs; "
            "got "
            f"{jax.tree.map(lambda one: one.str_short(), outputs)}."
        )
    _refuse_other_classes(exportable.classes, outputs)
    said = {
        "format": "StableHLO of jax.export",
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "platforms": list(exported.platforms),
        "inputs": {
            name: _described(one) for name, one in zip(exportable.inputs, inputs, strict=True)
        },
        "takes": exportable.takes,
        "outputs": jax.tree.map(_described, outputs),
        "gives": exportable.gives,
        "preparation": exportable.preparation,
        **({"classes": list(exportable.classes)} if exportable.classes else {}),
        "versions": {
            **{name: version(name) for name in ("etude", "jax", "jaxlib")},
            "calling_convention": exported.calling_convention_version,
        },
        "runs": f"in JAX up to {BACKWARD} later than this one, and {FORWARD} earlier",
    }
    if taken := sorted((said.keys() | _OPTIONAL) & about.keys()):
        raise ConfigurationError(f"write_stablehlo: about has {', '.join(taken)}, which is taken.")
    said |= about
    write_whole(path, content)
    text = json.dumps(said, indent=2, ensure_ascii=False) + "\n"
    write_whole(path.with_suffix(".json"), text.encode())
    return said


def _check(path: Path, platforms: Sequence[str], about: Mapping[str, Any]) -> None:
    """Raises `ConfigurationError` for bad arguments of `write_stablehlo`."""
    known = get_args(Platform)
    if isinstance(platforms, str) or not is_a(platforms, Sequence) or not platforms:
        raise ConfigurationError(f"platforms are some of {known}; got {platforms!r}.")
    for name in platforms:
        if name not in known:  # JAX would lower for it, and nothing would run that
            raise ConfigurationError(f"There is no platform {name!r}. {suggest(str(name), known)}")
    if path.suffix == ".json":
        raise ConfigurationError(
            f"{path}: the file that describes the function has this name. Write model.stablehlo."
        )
    refuse_missing_folder(path)
    if not is_mapping(about):
        raise ConfigurationError(f"write_stablehlo: about is entries by name; got {about!r}.")
    for name, value in about.items():
        try:
            json.dumps({str(name): value}, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"write_stablehlo: about has {name!r}, which JSON cannot hold: {error}"
            ) from None
        if not is_a(name, str):
            raise ConfigurationError(f"write_stablehlo: about has texts as names; got {name!r}.")


def _cure(error: Exception) -> str:
    if isinstance(error, jax.errors.InconclusiveDimensionOperation) or "_DimExpr" in str(error):
        return (
            "\nThe length of the batch is not known yet: write x.shape[0] for len(x), or wrap the "
            "function in etude.export.one_by_one."
        )
    return ""


def _are_batches(outputs: Any, batch: Any) -> bool:
    """Whether a function gives numbers as many as its inputs, or a dict of such arrays."""
    parts = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    leaves = jax.tree.leaves(outputs)
    if not parts or leaves != parts:
        return False
    return all(one.shape[:1] == (batch,) and not _is_key(one) for one in leaves)


def _refuse_other_classes(classes: tuple[str, ...], outputs: Any) -> None:
    shapes = [one.shape for one in jax.tree.leaves(outputs)]
    if classes and not any(shape[-1] == len(classes) for shape in shapes):
        raise ConfigurationError(
            f"Exportable: there are {len(classes)} classes, and no output has as many on its last "
            f"axis; got {', '.join(map(str, shapes))}. Name one class for each number."
        )


def _is_key(one: Any) -> bool:
    return jnp.issubdtype(one.dtype, jax.dtypes.extended)


def _described(one: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in one.shape]
    return {"shape": shape, "dtype": np.dtype(one.dtype).name}
