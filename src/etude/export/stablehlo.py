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
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from etude.errors import ConfigurationError, ModelError, suggest
from etude.export.extra import needed
from etude.export.files import write_whole

#: What JAX can lower for.
Platform = Literal["cpu", "cuda", "rocm", "tpu"]

#: Months and weeks in which JAX keeps an exported function running: in a later version, and in
#: one that is earlier than that of the export.
BACKWARD, FORWARD = "6 months", "3 weeks"

_JAX = (jax.errors.JAXTypeError, jax.errors.InconclusiveDimensionOperation)


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of batches that is traced on batches of one.

    For models that ask for the length of their batch, which an export does not know. The program
    takes whole batches all the same.

    >>> one_by_one(lambda x: x * len(x))(np.ones((3, 2))).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """

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
        inputs: shape and dtype of one sample of each input, by name, in the order of `function`.
            A random key is no input: take a seed.
        takes: what the inputs are, with units; a phrase.
        gives: what comes out, with units; a phrase.
        preparation: which steps from raw data to these inputs the function has in it, and which
            the caller makes; sentences.
        classes: names of the classes, where the last axis of the output has one for each.
    """

    function: Callable[..., Any]
    inputs: Mapping[str, jax.ShapeDtypeStruct]
    takes: str
    gives: str
    preparation: str = "None is needed."
    classes: tuple[str, ...] = ()

    def __post_init__(self):
        keys = [
            name
            for name, one in self.inputs.items()
            if jnp.issubdtype(one.dtype, jax.dtypes.extended)
        ]
        if keys or not self.inputs:
            got = f"random keys: {', '.join(keys)}" if keys else "none"
            raise ConfigurationError(f"Exportable: inputs are arrays, one or more; got {got}.")


def write_stablehlo(
    exportable: Exportable,
    path: str | Path,
    *,
    platforms: Sequence[str] = ("cpu", "cuda"),
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `exportable`, for batches of any length, as a file for `jax.export.deserialize`.

    The weights are in it, as constants. Beside it comes a JSON file of the same name: the inputs
    and outputs, the platforms, the preparation, and the versions that made it, which the binary
    alone does not show. On one platform the function gives, to the bit, what
    `jax.jit(exportable.function)` gives there; of a batch of one to the last digit, because XLA
    drops that axis where it knows the length, and then fuses other operations.

    Args:
        exportable: what is written.
        path: the file, which is replaced once the new one is whole.
        platforms: on which it shall run, of "cpu", "cuda", "rocm" and "tpu".
        about: further entries of the JSON file.

    Returns:
        What the JSON file says.

    Raises:
        ModelError: the function cannot be exported, and the message is that of JAX; or gives
            something else than batches; or has 64-bit inputs, and JAX's 64-bit mode is off.
        ConfigurationError: no platform or an unknown one, a path that ends with .json, or the
            package flatbuffers is not installed.
        OSError: a file cannot be written.
    """
    path = Path(path)
    _check(path, platforms)
    needed("flatbuffers", "StableHLO")
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    inputs = [
        jax.ShapeDtypeStruct((batch, *sample.shape), sample.dtype)
        for sample in exportable.inputs.values()
    ]
    try:
        exported = export.export(
            jax.jit(exportable.function), platforms=tuple(dict.fromkeys(platforms))
        )(*inputs)
        content = bytes(exported.serialize())
    except (ValueError, TypeError, NotImplementedError, *_JAX) as error:
        raise ModelError(
            f"The function cannot be exported for {', '.join(platforms)}: "
            f"{type(error).__name__}: {error}"
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
            "The function gives a batch, or a dict of batches, each as long as the inputs; got "
            f"{jax.tree.map(lambda one: one.str_short(), outputs)}."
        )
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
        **(about or {}),
    }
    write_whole(path, content)
    text = json.dumps(said, indent=2, ensure_ascii=False) + "\n"
    write_whole(path.with_suffix(".json"), text.encode())
    return said


def _check(path: Path, platforms: Sequence[str]) -> None:
    """Raises `ConfigurationError` for bad arguments of `write_stablehlo`."""
    known = get_args(Platform)
    if isinstance(platforms, str) or not platforms:
        raise ConfigurationError(f"platforms are some of {known}; got {platforms!r}.")
    for name in platforms:
        if name not in known:  # JAX would lower for it, and nothing would run that
            raise ConfigurationError(f"There is no platform {name!r}. {suggest(name, known)}")
    if path.suffix == ".json":
        raise ConfigurationError(
            f"{path}: the file that describes the function has this name. Write model.stablehlo."
        )


def _are_batches(outputs: Any, batch: Any) -> bool:
    """Whether a function gives an array as long as its inputs, or a dict of such arrays."""
    parts = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    leaves = jax.tree.leaves(outputs)
    return bool(parts) and leaves == parts and all(one.shape[:1] == (batch,) for one in leaves)


def _described(one: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in one.shape]
    return {"shape": shape, "dtype": np.dtype(one.dtype).name}
