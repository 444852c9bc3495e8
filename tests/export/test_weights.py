"""safetensors files: what the library alone reads is what the model has, and nothing is lost."""

import json
import sys
from collections import namedtuple

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import safetensors
import safetensors.numpy
from flax import nnx

import etude as et
from etude.export.weights import DTYPES


def model(seed=0):
    a, b = jax.random.split(jax.random.key(seed))
    return {
        "net": eqx.nn.MLP(3, 2, 4, 1, key=a),
        "half": jax.random.normal(b, (2, 3), jnp.bfloat16),
        "waves": jax.lax.complex(jax.random.normal(a, (4,)), jax.random.normal(b, (4,))),
        "keys": jax.random.split(jax.random.key(seed + 1, impl="rbg"), 3),
        "odd": jnp.array([jnp.nan, -0.0, jnp.inf, 1e-45], jnp.float32),
        "count": jnp.array(seed + 7, jnp.int32),
        "nothing": jnp.zeros((0, 3)),
        "host": np.array([1 / 3, seed], np.float64),
    }


def raw(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_every_leaf_comes_back_to_the_bit_in_its_kind(tmp_path):
    et.save_weights(model(0), tmp_path / "m.safetensors")
    found = et.load_weights(model(5), tmp_path / "m.safetensors")
    for one, other in zip(*map(jax.tree.leaves, (found, model(0))), strict=True):
        if eqx.is_array(one):
            assert type(one) is type(other)
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert np.asarray(raw(one)).tobytes() == np.asarray(raw(other)).tobytes()
        else:
            assert one is other
    np.testing.assert_array_equal(
        jax.random.uniform(found["keys"][1]), jax.random.uniform(model(0)["keys"][1])
    )


def test_the_library_alone_reads_the_names_and_values(tmp_path):
    et.save_weights(model(), tmp_path / "m.safetensors")
    with safetensors.safe_open(tmp_path / "m.safetensors", "np") as file:
        names, header = set(file.keys()), file.metadata()
        weight = file.get_tensor("net.layers.1.weight")
        half, waves = file.get_tensor("half"), file.get_tensor("waves")
        numbers = file.get_tensor("keys")
    layers = {f"net.layers.{k}.{part}" for k in (0, 1) for part in ("weight", "bias")}
    assert names == layers | (model().keys() - {"net"})
    np.testing.assert_array_equal(weight, model()["net"].layers[1].weight)
    assert (half.dtype, waves.dtype) == (ml_dtypes.bfloat16, np.complex64)
    np.testing.assert_array_equal(waves, model()["waves"])
    np.testing.assert_array_equal(numbers, jax.random.key_data(model()["keys"]))
    assert header["etude.keys"] == '{"keys": "rbg"}'
    assert header["jax"] == jax.__version__


@pytest.mark.parametrize("name", DTYPES)
def test_each_dtype_of_the_format_is_lossless(name, tmp_path):
    random = np.random.default_rng(0).integers(0, 2, (3, 5)).astype(DTYPES[name])
    et.save_weights({"x": random}, tmp_path / "m.safetensors")
    found = et.load_weights({"x": np.zeros_like(random)}, tmp_path / "m.safetensors")["x"]
    assert (found.dtype, found.tobytes()) == (random.dtype, random.tobytes())


def test_a_model_of_flax_nnx_is_saved_by_its_names(tmp_path):
    linear = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    et.save_weights(linear, tmp_path / "m.safetensors")
    other = et.load_weights(nnx.Linear(2, 3, rngs=nnx.Rngs(1)), tmp_path / "m.safetensors")
    np.testing.assert_array_equal(other.kernel[...], linear.kernel[...])
    with safetensors.safe_open(tmp_path / "m.safetensors", "np") as file:
        assert {name.partition(".")[0] for name in file.keys()} == {"kernel", "bias"}  # noqa: SIM118


def test_every_mismatch_is_listed_by_name_with_got_and_expected(tmp_path):
    many = {f"w{k}": np.zeros(2, np.float32) for k in range(25)}
    et.save_weights({**many, "head": np.zeros((2, 3))}, tmp_path / "m.safetensors")
    like = {f"v{k}": np.zeros(2, np.float32) for k in range(25)} | {"head": np.zeros((3, 2))}
    with pytest.raises(et.ModelError) as caught:
        et.load_weights(like, tmp_path / "m.safetensors")
    text = str(caught.value)
    assert all(f"'v{k}' float32[2]: missing in the file" in text for k in range(25))
    assert all(f"'w{k}' float32[2]: unexpected" in text for k in range(25))
    assert "'head': the model has float64[3, 2], the file float64[2, 3]" in text


def test_keys_of_another_kind_are_no_match(tmp_path):
    et.save_weights({"key": jax.random.key(0, impl="rbg")}, tmp_path / "m.safetensors")
    with pytest.raises(et.ModelError, match=r"'key': the model has key<fry>\[\], the file key<rbg"):
        et.load_weights({"key": jax.random.key(0)}, tmp_path / "m.safetensors")
    et.save_weights({"key": np.zeros(2, np.uint32)}, tmp_path / "m.safetensors")
    with pytest.raises(et.ModelError, match=r"the model has key<fry>\[\], the file uint32\[2\]"):
        et.load_weights({"key": jax.random.key(0)}, tmp_path / "m.safetensors")


def test_what_the_format_lacks_is_refused_by_name_and_nothing_is_written(tmp_path):
    wrong = {"z": np.zeros(2, np.complex128), "n": jnp.zeros(3, jnp.int4), "w": np.zeros(1)}
    with pytest.raises(et.ModelError, match=r"(?s)'n': the format has no int4.*'z': .*complex128"):
        et.save_weights(wrong, tmp_path / "m.safetensors")
    with pytest.raises(et.ModelError, match=r"one name: 'a\.b'"):
        et.save_weights({"a.b": np.zeros(1), "a": {"b": np.ones(1)}}, tmp_path / "m.safetensors")
    for name in ("__metadata__", "w\udc80"):
        with pytest.raises(et.ModelError, match="rename the array"):
            et.save_weights({name: np.zeros(1)}, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_scalars_of_numpy_stay_what_they_are(tmp_path):
    like = {"a": np.int64(0), "b": np.float64(0), "c": np.zeros((), np.int64)}
    et.save_weights(
        {"a": np.int64(2**40), "b": np.float64(1 / 3), "c": np.array(3)}, tmp_path / "m.safetensors"
    )
    found = et.load_weights(like, tmp_path / "m.safetensors")
    assert {name: type(one) for name, one in found.items()} == {
        name: type(one) for name, one in like.items()
    }
    assert found == {"a": 2**40, "b": 1 / 3, "c": 3}


def test_64_bits_are_never_rounded_in_silence(tmp_path):
    et.save_weights({"w": np.array([1 / 3])}, tmp_path / "m.safetensors")
    like = {"w": jax.ShapeDtypeStruct((1,), np.float64)}
    with pytest.raises(et.ModelError, match="'w': float64 would become float32"):
        et.load_weights(like, tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"not a file of weights", None], ids=["empty", "text", "cut"]
)
def test_a_damaged_file_is_one_message(content, tmp_path):
    path = tmp_path / "m.safetensors"
    et.save_weights({"w": np.zeros(9)}, path)
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    with pytest.raises(et.DataError, match=r"m\.safetensors is no whole safetensors file"):
        et.load_weights({"w": np.zeros(9)}, path)


def test_what_the_header_has_already_is_not_replaced(tmp_path):
    for about in ({"jax": "0"}, {"etude.keys": "{}"}):
        with pytest.raises(et.ConfigurationError, match=r"about has (jax|etude.keys), which is"):
            et.save_weights({"w": np.zeros(1)}, tmp_path / "m.safetensors", about=about)
    metadata = {"etude.keys": "[1", "keys": "of somebody else"}
    safetensors.numpy.save_file({"w": np.zeros(1)}, tmp_path / "m.safetensors", metadata)
    with pytest.raises(et.DataError, match=r"etude\.keys in its header is damaged"):
        et.load_weights({"w": np.zeros(1)}, tmp_path / "m.safetensors")
    for about in ({"n": "\udc80"}, {"\udc80": "n"}):
        with pytest.raises(et.ConfigurationError, match="about has names and texts"):
            et.save_weights({"w": np.zeros(1)}, tmp_path / "m.safetensors", about=about)


@pytest.mark.parametrize("kind", ["nix", 3])
def test_keys_of_an_implementation_that_is_not_there_are_refused(kind, tmp_path):
    numbers = {"key": np.zeros(2, np.uint32)}
    metadata = {"etude.keys": json.dumps({"key": kind})}
    safetensors.numpy.save_file(numbers, tmp_path / "m.safetensors", metadata)
    with pytest.raises(et.DataError, match=f"'key' are random keys of {kind!r}"):
        et.load_weights(numbers, tmp_path / "m.safetensors")


def test_a_header_without_texts_is_damaged(tmp_path):
    head = json.dumps(
        {"__metadata__": None, "w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    ).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"a")
    with pytest.raises(et.DataError, match="__metadata__ is no table"):
        et.load_weights({"w": np.zeros(1, np.uint8)}, path)


def test_a_file_or_folder_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "nix", tmp_path):
        with pytest.raises(et.DataError, match=f"{path} is (not there|a folder)"):
            et.load_export(path)
    with pytest.raises(et.ConfigurationError, match=f"its folder {tmp_path / 'no'} is not there"):
        et.save_weights({"w": np.zeros(1)}, tmp_path / "no/m.safetensors")
    with pytest.raises(OSError, match=str(tmp_path)) as caught:
        et.save_weights({"w": np.zeros(1)}, tmp_path)
    assert caught.value.filename == str(tmp_path)


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(et.ConfigurationError, match=r"safetensors: pip install .etude\[export\]"):
        et.save_weights({"w": np.zeros(9)}, tmp_path / "m.safetensors")


def test_a_result_saves_the_model_that_was_trained(tmp_path):
    def loss(w, batch, context):
        return jnp.mean((w - batch) ** 2)

    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones(8), 4), et.Steps(3))
    result = et.Trainer(jnp.zeros(()), phase, progress=False).fit()
    result.save_weights(tmp_path / "m.safetensors")
    found = et.load_weights(jnp.zeros(()), tmp_path / "m.safetensors")
    assert found == result.model
    Pair = namedtuple("Pair", "a b")
    pair = Pair(jnp.ones(1), (jnp.zeros(2), [jnp.ones(3)]))
    et.save_weights(pair, tmp_path / "p.safetensors")
    assert isinstance(et.load_weights(pair, tmp_path / "p.safetensors"), Pair)
