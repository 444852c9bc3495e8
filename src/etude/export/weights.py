"""The arrays of a model as a safetensors file: an archive that any language reads.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
>>> save_weights({"w": jnp.arange(3.0), "key": jax.random.key(7)}, path)
>>> like = {"w": jnp.zeros(3), "key": jax.random.key(0)}
>>> load_weights(like, path)["w"].tolist()
[0.0, 1.0, 2.0]
"""

import json
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.named_arrays import from_named
from etude.errors import ConfigurationError, DataError, ModelError
from etude.export.extra import needed
from etude.export.files import is_text, refuse_missing_folder
from etude.kinds import is_dict
from etude.run import compare_leaves
from etude.run.whole_file import write_whole

#: dtypes of the format, by its names for them.
DTYPES: Mapping[str, np.dtype[Any]] = {
    **{
        name: np.dtype(kind)
        for name, kind in {
            "BOOL": "bool",
            "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
            "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
            "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
        }.items()
    },
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}  # fmt: skip

#: In the header of a file: which names are random keys, with their implementation, as JSON.
KEYS = "etude.keys"
#: What the format calls the texts of its header, among the names of arrays.
METADATA = "__metadata__"


def save_weights(
    model: PyTree, path: str | Path, *, about: Mapping[str, str] | None = None
) -> None:
    """Write every array of `model` into a safetensors file, bit for bit.

    The name of an array is its path in the model, with dots: `encoder.layers.0.weight`. Of a
    random key the raw numbers are written, and its kind into the header, which also has the
    versions of etude and JAX. What is no array (functions, texts) is not written: the code that
    makes the model has it.

    Args:
        model: any pytree with arrays in it.
        path: the file, which is replaced once the new one is whole.
        about: further texts for the header, by names other than "etude", "jax" and "etude.keys".

    Raises:
        ModelError: arrays that the format cannot hold, each by its name: of a dtype that it
            lacks, or of a name that another array has as well, that the format keeps for itself
            or that is no text in UTF-8.
        ConfigurationError: `about` has a name that is taken, or what is no text; the folder of
            the file is not there; or the package safetensors is not installed.
        OSError: the file cannot be written.

    >>> save_weights({"z": np.zeros(2, np.complex128)}, "model.safetensors")
    Traceback (most recent call last):
    etude.errors.ModelError: The model cannot be written as safetensors:
    'z': the format has no complex128; cast it, or keep it as real and imaginary part
    """
    numpy = needed("safetensors.numpy", "A file of weights")
    refuse_missing_folder(Path(path))
    leaves = _named(eqx.filter(model, is_array))
    arrays = {
        name: np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf, order="C")
        for name, leaf in leaves.items()
    }
    problems = [
        f"{name!r}: the format has no {array.dtype}; {_cure(array.dtype)}"
        for name, array in arrays.items()
        if array.dtype not in DTYPES.values()
    ]
    problems += [
        f"{name!r}: the format keeps this name for its header; rename the array"
        for name in arrays
        if name == METADATA
    ]
    problems += [
        f"{name!r}: the name is no text in UTF-8; rename the array"
        for name in arrays
        if not is_text(name)
    ]
    kinds = {name: jax.random.key_impl(leaf) for name, leaf in leaves.items() if _is_key(leaf)}
    problems += [
        f"{name!r}: random keys of an implementation without a name: {kind}"
        for name, kind in kinds.items()
        if not isinstance(kind, str)
    ]
    if problems:
        raise ModelError(_lines("The model cannot be written as safetensors:", problems))
    header = {"etude": version("etude"), "jax": version("jax"), KEYS: json.dumps(kinds)}
    if taken := sorted(header.keys() & (about or {}).keys()):
        raise ConfigurationError(f"save_weights: about has {', '.join(taken)}, which is taken.")
    for name, text in (about or {}).items():
        if not is_text(name) or not is_text(text):
            raise ConfigurationError(
                f"save_weights: about has names and texts in UTF-8; got {name!r}: {text!r}. "
                "Write a value as text, json.dumps(value)."
            )
        header[name] = text
    write_whole(Path(path), numpy.save(arrays, header))


def load_weights(model_like: PyTree, path: str | Path) -> PyTree:
    """`model_like`, with the arrays of a safetensors file.

    Args:
        model_like: a model like the one that was saved. Of its arrays only names, shapes and
            dtypes count: they may be `jax.ShapeDtypeStruct`, as `equinox.filter_eval_shape` gives
            them.
        path: a file that `save_weights` wrote, or any of the format with the same names.

    Raises:
        ModelError: names, shapes or dtypes differ; every difference is listed, with what the
            model has and what the file has. Or an array of 64 bits would be rounded, because
            JAX's 64-bit mode is off.
        DataError: there is no such file; it is no safetensors file, holds an array of a dtype
            without a name, or says of a random key what is not so.
        ConfigurationError: the package safetensors is not installed.
    """
    found, header = read_weights(path)
    keys = _kinds(path, header)
    arrays, rest = eqx.partition(model_like, _has_shape)
    wanted = _named(arrays)
    difference = compare_leaves(
        {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in wanted.items()},
        {name: _shape_of(array, keys.get(name)) for name, array in found.items()},
        where="the file",
        most=None,
    )
    if difference is not None:
        raise ModelError(f"{path} holds the weights of another model:\n{difference}")
    rounded = [
        f"{name!r}: {leaf.dtype} would become {jax.dtypes.canonicalize_dtype(leaf.dtype)}"
        for name, leaf in wanted.items()
        if not _is_key(leaf)
        and not isinstance(leaf, np.ndarray | np.generic)
        and jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype
    ]
    if rounded:
        head = f"{path} has arrays of 64 bits, which JAX takes with jax_enable_x64 only:"
        raise ModelError(_lines(head, rounded))
    paths = _paths(arrays)
    placed = from_named(arrays, {paths[name]: array for name, array in found.items()})
    kept = jax.tree_util.tree_map(
        lambda leaf, name, new: _as_it_was(leaf, found[name], new),
        arrays,
        jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(arrays), list(wanted)),
        placed,
    )
    return eqx.combine(kept, rest)


def read_weights(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and the texts of its header.

    Raises what `load_weights` raises for a file.
    """
    library = needed("safetensors", "A file of weights")
    try:
        content = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        state = "is a folder" if isinstance(error, IsADirectoryError) else "is not there"
        raise DataError(f"{path} {state}: name a safetensors file, as model.safetensors.") from None
    try:
        tensors = library.deserialize(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]).get(METADATA, {})
        if not is_dict(header):
            raise ValueError(f"{METADATA} is no table of texts")
    except (library.SafetensorError, ValueError) as error:
        raise DataError(
            f"{path} is no whole safetensors file: {error}. Write it again, or fetch it again."
        ) from None
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in tensors:
        if tensor["dtype"] not in DTYPES:
            raise DataError(
                f"{path}: {name!r} is of the dtype {tensor['dtype']}, which NumPy cannot hold."
            )
        kind = DTYPES[tensor["dtype"]]
        arrays[name] = np.frombuffer(tensor["data"], kind).reshape(tensor["shape"])
    return arrays, header


def _kinds(path: str | Path, header: Mapping[str, str]) -> Mapping[str, Any]:
    """The implementation of each random key, as the header says it."""
    try:
        found = json.loads(header.get(KEYS, "{}"))
    except ValueError:
        found = None
    if not is_dict(found):
        raise DataError(f"{path}: {KEYS} in its header is damaged. Write the file again.")
    for name, kind in found.items():
        if not _is_implementation(kind):
            raise DataError(
                f"{path}: {KEYS} in its header says that {name!r} are random keys of {kind!r}, an "
                "implementation that JAX has not here. Register it, or write the file again."
            )
    return found


def _is_implementation(kind: Any) -> bool:
    if not isinstance(kind, str):
        return False
    try:
        jax.eval_shape(lambda: jax.random.key(0, impl=kind))
    except ValueError:
        return False
    return True


def _named(arrays: PyTree) -> dict[str, Any]:
    """Every leaf by its name. Raises `ModelError` if two have the same."""
    listed = [(_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)]
    twice = [name for name, count in Counter(name for name, _ in listed).items() if count > 1]
    if twice:
        raise ModelError(
            f"Two arrays of the model have one name: {', '.join(map(repr, twice))}. Rename a key "
            "that has a dot in it, or a number that is a text."
        )
    return dict(listed)


def _paths(arrays: PyTree) -> dict[str, str]:
    """What the engine calls each leaf, by its name here."""
    return {
        _name(path): jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(arrays)
    }


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "array"


def _shape_of(array: np.ndarray, kind: Any) -> jax.ShapeDtypeStruct:
    """What an array of a file is: of a random key, the keys rather than their numbers."""
    plain = jax.ShapeDtypeStruct(array.shape, array.dtype)
    if kind is None:
        return plain
    try:
        return jax.eval_shape(lambda x: jax.random.wrap_key_data(x, impl=kind), plain)
    except (ValueError, TypeError):  # no numbers of such keys
        return plain


def _as_it_was(leaf: Any, found: np.ndarray, placed: Any) -> Any:
    """What was of NumPy, an array or a scalar, stays so: JAX would round 64 bits."""
    if isinstance(leaf, np.generic):
        return found[()]
    return found.copy() if isinstance(leaf, np.ndarray) else placed


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _has_shape(leaf: Any) -> bool:
    return is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _cure(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "c":
        return "cast it, or keep it as real and imaginary part"
    return "cast it to a dtype that the format has"


def _lines(head: str, problems: list[str]) -> str:
    return "\n".join([head, *problems])
