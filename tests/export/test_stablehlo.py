"""What is exported runs without etude, to the same bits, and is what the verbs of recipes say."""

import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from apart import called_apart

import etude as et
from etude.catalogue import find_recipe, recipe_names
from etude.export import Exportable, one_by_one, write_stablehlo
from etude.predictions import PictureOptions
from etude.systems.born_machine.recipes.plane import data
from etude.systems.gravitational_waves.curves import noise_curve
from etude.systems.gravitational_waves.noise import coloured_noise
from etude.systems.gravitational_waves.recipes import deployed
from etude.systems.gravitational_waves.spectra import Spectrum, estimate_psd, whiten
from etude.systems.machinery.records import normalised

#: Small models.
SMALL = {
    "digits-two-phase": {"width": 8, "features": 4},
    "attractor/digits": {"hidden": 16},
    "born/digits": {"bond_dim": 3},
    "machinery/leakage": {"networks": ["envelope"]},
}
#: What else keeps every recipe small enough to be exported without its training.
FAST = {
    "born/fashion-mnist": {"data": "digits"},
    "born/capacity": {"data": "digits", "bond_dims": [4], "pictures": 100},
    "attractor/fashion-mnist": {"data": "digits"},
    "generative/diffusion": {"visited": 5},
    "generative/flow-matching": {"solved": 3},
    "generative/pictures": {"solved": 2},
    **{
        f"machinery/simulated{kind}": {"per_class": 8}
        for kind in ("-pinn", "-spectrogram", "-multi-tfr", "-distillation", "-progressive")
    },
    "machinery/simulated": {"per_class": 8, "model": ["hybrid"]},
}


SINGLE = jax.ShapeDtypeStruct((), "float32")
SWAPPED = one_by_one(lambda a, b: a)


def untrained(name, fields):
    """What a recipe exports of its first model before the training; the model and configuration."""
    recipe = find_recipe(name)
    config = recipe.configuration.model_validate(fields)
    trial = recipe.trials(config)[0]
    if trial.skeleton is None:
        model = trial.build(progress=False).settings.model
    else:
        model = eqx.filter_jit(trial.skeleton)()
    own = trial.config or config
    return recipe.export(model, own, trial), model, own


def batch(exportable, count):
    rng = np.random.default_rng(count)
    return [
        (
            rng.random((count, *one.shape))
            if np.issubdtype(one.dtype, np.floating)
            else rng.integers(0, 3, (count, *one.shape))
        ).astype(one.dtype)
        for one in exportable.inputs.values()
    ]


def compared(exported, folder, counts):
    """Writes functions, and compares each to the bit with what it gives here.

    Of a batch of one XLA may drop the axis where it knows the length, and so fuse other
    operations: there the last digit may differ.
    """
    cases = {}
    for name, exportable in exported.items():
        path = folder / f"{name.replace('/', '-')}.stablehlo"
        write_stablehlo(exportable, path)
        cases |= {(name, count): (f"{path}@{count}", batch(exportable, count)) for count in counts}
    found = called_apart(dict(cases.values()), folder)
    for (name, count), (case, inputs) in cases.items():
        output = jax.jit(exported[name].function)(*inputs)
        here = output if isinstance(output, dict) else {"": output}
        assert found[case].keys() == here.keys()
        for part, value in here.items():
            there = found[case][part]
            assert (there.dtype, there.shape) == (value.dtype, value.shape)
            same = there.tobytes() == np.asarray(value).tobytes()
            assert same or (count == 1 and np.allclose(there, value, rtol=1e-5)), (
                name,
                count,
                part,
            )
            assert np.isfinite(there).all()


def test_without_etude_the_bits_are_the_same_for_any_batch(tmp_path):
    names = ("digits-two-phase", "born/plane")
    exported = {name: untrained(name, SMALL.get(name, {}))[0] for name in names}
    compared(exported, tmp_path, (1, 7))


@pytest.mark.slow
def test_every_recipe_exports_its_model(tmp_path):
    names = [name for name in recipe_names() if find_recipe(name).export is not None]
    assert len(names) >= 34
    exported = {}
    for name in names:
        exported[name] = untrained(name, FAST.get(name, {}))[0]
    compared(exported, tmp_path, (1, 3))


def test_beside_the_file_stands_what_it_takes_and_what_made_it(tmp_path):
    exportable = untrained("born/digits", SMALL["born/digits"])[0]
    said = write_stablehlo(exportable, tmp_path / "m.stablehlo", about={"recipe": "born/digits"})
    assert json.loads((tmp_path / "m.json").read_text()) == said
    assert said["inputs"] == {"samples": {"shape": ["batch", 8, 8], "dtype": "float32"}}
    assert said["outputs"]["log_density"] == {"shape": ["batch"], "dtype": "float32"}
    assert said["platforms"] == ["cpu", "cuda"]
    assert said["versions"]["jax"] == jax.__version__
    assert said["classes"] == list("0123456789")
    loaded = jax.export.deserialize(bytearray((tmp_path / "m.stablehlo").read_bytes()))
    assert said["versions"]["calling_convention"] == loaded.calling_convention_version


def test_the_platforms_are_those_that_were_asked_for(tmp_path):
    exportable = Exportable(jnp.sin, {"x": jax.ShapeDtypeStruct((), "float32")}, "x", "sin x")
    assert write_stablehlo(exportable, tmp_path / "m.stablehlo", platforms=("tpu",))
    loaded = jax.export.deserialize(bytearray((tmp_path / "m.stablehlo").read_bytes()))
    assert loaded.platforms == ("tpu",)
    said = json.loads((tmp_path / "m.json").read_text())
    assert said["preparation"].startswith("It is not said")
    with pytest.raises(ValueError, match="platforms"):
        loaded.call(np.ones(3, np.float32))


def test_a_function_that_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path):
    inputs = {"x": jax.ShapeDtypeStruct((2,), "float32")}
    by_length = Exportable(lambda x: x * len(x), inputs, "x", "y")
    for wrong in (by_length, Exportable(np.asarray, inputs, "x", "y")):
        with pytest.raises(et.ModelError, match="cannot be exported for cpu, cuda"):
            write_stablehlo(wrong, tmp_path / "m.stablehlo")
    assert list(tmp_path.iterdir()) == []
    write_stablehlo(
        Exportable(one_by_one(by_length.function), inputs, "x", "y"), tmp_path / "m.stablehlo"
    )


@pytest.mark.parametrize(
    ("given", "how", "said"),
    [
        ({}, {"platforms": ()}, "platforms are some of"),
        ({}, {"platforms": "cpu"}, "platforms are some of"),
        ({}, {"platforms": ("gpu",)}, "There is no platform 'gpu'"),
        ({}, {"name": "model.json"}, "the file that describes the function has this name"),
        ({"inputs": {}}, {}, "inputs are arrays, one or more; got none"),
        ({"inputs": {"k": jax.eval_shape(lambda: jax.random.key(0))}}, {}, "got random keys: k"),
        ({"inputs": {"x": jax.ShapeDtypeStruct((), "float64")}}, {}, "'x' is float64"),
        ({"function": lambda x: x.sum()}, {}, "each as long as the inputs; got float32"),
        ({"function": lambda x: (x, x)}, {}, "gives a batch of numbers, or a dict"),
        ({"function": lambda x: jax.pure_callback(np.sin, x, x)}, {}, "cannot be exported for"),
        ({"function": lambda x: {}[len(x.shape)]}, {}, "exported for cpu, cuda: KeyError"),
        ({"function": lambda x: x * len(x)}, {}, r"write x\.shape\[0\] for len"),
        ({"function": jax.vmap(lambda x: jax.random.key(0))}, {}, r"batch of numbers.*key<fry>"),
        ({"inputs": {"a b": SINGLE}}, {}, "names of Python, which the card writes; got 'a b'"),
        ({"inputs": {"b": SINGLE, "a": SINGLE}, "function": lambda a, b: a}, {}, "takes a, b"),
        ({"inputs": {"b": SINGLE, "a": SINGLE}, "function": SWAPPED}, {}, "takes a, b"),
        ({"takes": "x\udc80"}, {}, "takes is a text in UTF-8"),
        ({"classes": ("cat", "dog")}, {}, r"there are 2 classes, and no output has .*\(batch"),
        ({}, {"about": {"inputs": 3}}, "about has inputs, which is taken"),
        ({}, {"about": {"classes": []}}, "about has classes, which is taken"),
        ({}, {"about": {"z": object()}}, "about has 'z', which JSON cannot hold"),
        ({}, {"about": {"z": float("nan")}}, "about has 'z', which JSON cannot hold"),
        ({}, {"name": "no/m.stablehlo"}, "its folder .*no is not there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_deployed_is_refused_by_name(given, how, said, tmp_path):
    arguments = {"function": jnp.sin, "inputs": {"x": SINGLE}}

    def write(name="m.stablehlo", **options):
        exportable = Exportable(**({"takes": "x", "gives": "y"} | arguments | given))
        write_stablehlo(exportable, tmp_path / name, **options)

    with pytest.raises((et.ModelError, et.ConfigurationError), match=said):
        write(**how)
    assert list(tmp_path.iterdir()) == []


def test_without_flatbuffers_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    exportable = Exportable(jnp.sin, {"x": jax.ShapeDtypeStruct((), "float32")}, "x", "sin x")
    with pytest.raises(et.ConfigurationError, match=r"StableHLO needs .* flatbuffers: pip install"):
        write_stablehlo(exportable, tmp_path / "m.stablehlo")


@pytest.mark.parametrize("name", ["digits-two-phase", "attractor/digits", "born/digits"])
def test_pictures_have_the_classes_that_predict_says(name, tmp_path):
    exportable, model, config = untrained(name, SMALL[name])
    pictures = et.load("digits").test.x[:5]
    np.save(tmp_path / "x.npy", pictures)
    verb = find_recipe(name).predict
    table = verb.run(model, config, [str(tmp_path / "x.npy")], PictureOptions())
    found = jax.jit(exportable.function)(pictures)
    found = found["probabilities"] if isinstance(found, dict) else found
    said = np.array([row[2:] for row in table.rows], float)
    np.testing.assert_allclose(np.asarray(found), said, atol=2e-6)
    assert exportable.classes == table.head[2:]


def test_windows_of_vibration_are_normalised_in_the_function():
    exportable, model, config = untrained("machinery/leakage", {"networks": ["CNN"]})
    windows = np.random.default_rng(0).normal(3, 7, (4, config.window)).astype(np.float32)
    found = jax.jit(exportable.function)(windows)
    said = model.probabilities(normalised(windows))
    np.testing.assert_allclose(np.asarray(found), np.asarray(said), atol=1e-5)


def test_density_of_a_born_machine_is_that_of_the_units_of_the_data():
    """Over the range of the data it integrates to 1."""
    exportable, _, _ = untrained("born/plane", {"data": ["moons_small"], "bond_dim": 3})
    scaling = data("moons_small").scaling
    low, high = scaling.inverse(np.array([[scaling.domain[0]] * 2, [scaling.domain[1]] * 2]))
    assert abs(np.prod(high - low) - 4) > 1  # other units than those of the machine
    middles = (np.arange(200) + 0.5) / 200
    points = low + (high - low) * np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
    found = jax.jit(exportable.function)(points.astype(np.float32))
    density = np.exp(np.asarray(found["log_density"], np.float64))
    assert density.mean() * np.prod(high - low) == pytest.approx(1, abs=0.02)


def test_whitening_within_the_function_is_that_of_a_search():
    """In single precision, of strain with the full range of a spectrum, and an offset."""
    rng, rate, band = np.random.default_rng(0), 2048.0, (20.0, 1024.0)
    curve = noise_curve("aLIGO-O4")
    strain = coloured_noise(rng, curve, 32.0, rate) + 2e-19
    psd = estimate_psd(strain, rate)
    exact = whiten(strain[: 6 * 2048], rate, psd, band)
    assert isinstance(psd, Spectrum)
    found = deployed.whitened(
        jnp.asarray(deployed.UNIT * strain[: 6 * 2048, None], jnp.float32),
        jnp.asarray(deployed.UNIT**2 * psd.psd[:, None], jnp.float32),
        rate,
        band,
    )[:, 0]
    assert found.shape == exact.shape
    assert np.abs(np.asarray(found) - exact).max() < 2e-4
    assert 0.8 < exact.std() < 1.2
