"""Diffusion against Gaussian data, for which the best denoiser is known."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import etude as et
from etude.systems.generative import (
    ContinuousFlow,
    Denoising,
    Diffusion,
    FlowMatching,
    Schedule,
    TimePerceptron,
    UNet,
)

KEY = jax.random.key(0)
KINDS = [
    (kind, predict)
    for kind in ("linear", "cosine", "geometric")
    for predict in ("eps", "x0", "v")
    if (kind, predict) != ("geometric", "v")
]
#: Mean and standard deviations of the data, which are independent.
MEAN, SCALE = np.array([0.3, -0.2]), np.array([0.5, 1.2])


class Exact(eqx.Module):
    """The mean of what is predicted, given a noisy example of normal data."""

    schedule: Schedule = eqx.field(static=True)
    predict: str = eqx.field(static=True)
    mean: jax.Array
    scale: jax.Array

    def __call__(self, x, time, labels):
        level = jnp.round(time * self.schedule.steps).astype(int)
        a, b = (jnp.asarray(each, jnp.float32)[level][:, None] for each in self.schedule.levels)
        if self.schedule.kind == "geometric":
            x = x * jnp.hypot(a, b)
        whole = (a * self.scale) ** 2 + b**2
        centred = x - a * self.mean
        x0 = self.mean + a * self.scale**2 / whole * centred
        eps = b / whole * centred
        return {"eps": eps, "x0": x0, "v": a * eps - b * x0}[self.predict]


def exact(kind, predict, mean=MEAN, scale=SCALE, steps=1000):
    schedule = Schedule(kind, steps)
    net = Exact(schedule, predict, jnp.asarray(mean, "float32"), jnp.asarray(scale, "float32"))
    return Diffusion.create(KEY, (len(mean),), net=net, schedule=schedule, predict=predict)


def floor(model, scale):
    """The least squared error per value, at each level from 1 on."""
    a, b = (each[1:] for each in model.schedule.levels)
    whole = (a * scale) ** 2 + b**2
    parts = {"eps": (a * scale) ** 2, "x0": (scale * b) ** 2, "v": scale**2 + 0 * a}
    return parts[model.predict] / whole


@jax.jit
def losses(model, x):
    return [
        Denoising(weight)(model, x, et.Context.at(jax.random.key(3)))[0] for weight in (None, 5.0)
    ]


@pytest.mark.parametrize(("kind", "predict"), KINDS)
def test_the_exact_denoiser_reaches_the_floor(kind, predict):
    model = exact(kind, predict, np.zeros(4), 0.5 * np.ones(4))
    x = 0.5 * jax.random.normal(jax.random.key(1), (50_000, 4))
    plain, weighted = losses(model, x)
    wanted = floor(model, 0.5)
    assert float(plain) == pytest.approx(wanted.mean(), rel=0.01)
    # Weights of min-SNR count the error of x0, whatever is predicted.
    a, b = (each[1:] for each in model.schedule.levels)
    weight = np.minimum((a / b) ** 2, 5.0) * floor(exact(kind, "x0"), 0.5)
    assert float(weighted) == pytest.approx(weight.mean(), rel=0.01)


def test_floors_are_those_of_the_reference():
    found = {p: floor(exact("linear", p), 1.0).mean() for p in ("eps", "x0", "v")}
    assert found == pytest.approx({"eps": 0.27551, "x0": 0.72449, "v": 1.0}, abs=1e-5)
    found = {p: floor(exact("linear", p), 0.5).mean() for p in ("eps", "x0", "v")}
    assert found == pytest.approx({"eps": 0.17305, "x0": 0.20674, "v": 0.37979}, abs=1e-5)


@pytest.mark.parametrize(("kind", "predict"), KINDS)
def test_predictions_say_the_same(kind, predict):
    model, other = exact(kind, predict), exact(kind, "x0")
    x = jax.random.normal(KEY, (500, 2))
    level = jnp.arange(500) * 2 + 1
    found, wanted = model.estimate(x, level), other.estimate(x, level)
    a, b = model.factors(level)
    # Errors of float32 grow as noise is told from data.
    np.testing.assert_allclose(found.x0 * a, wanted.x0 * a, atol=3e-4)
    np.testing.assert_allclose(found.eps * b, wanted.eps * b, atol=3e-4)
    np.testing.assert_allclose(a * found.x0 + b * found.eps, x, atol=1e-5)
    score = -(x - a * MEAN.astype("float32")) / ((a * SCALE.astype("float32")) ** 2 + b**2)
    np.testing.assert_allclose(model.score(x, level) * b, score * b, atol=1e-2)


@pytest.mark.parametrize(
    ("kind", "predict"), [("linear", "eps"), ("cosine", "v"), ("geometric", "x0")]
)
def test_samplers_find_mean_and_covariance(kind, predict):
    model = exact(kind, predict, steps=300)
    for eta, steps in ((1.0, None), (0.0, 200)):
        x = np.asarray(model.sample(jax.random.key(5), 10_000, steps=steps, eta=eta))
        np.testing.assert_allclose(x.mean(0), MEAN, atol=0.03)
        np.testing.assert_allclose(np.cov(x.T), np.diag(SCALE**2), atol=0.06)


def test_ddim_is_a_function_of_its_first_noise():
    model = exact("cosine", "v")
    x = np.asarray(model.sample(KEY, 500, steps=20, eta=0.0))
    # Of normal data, it is linear in that noise.
    start = np.asarray(jax.random.normal(jax.random.split(KEY, 21)[0], (500, 2)))
    for number in range(2):
        slope, offset = np.polyfit(start[:, number], x[:, number], 1)
        np.testing.assert_allclose(x[:, number], slope * start[:, number] + offset, atol=1e-5)
    noisy = np.asarray(model.sample(KEY, 500, steps=20, eta=0.5))
    assert abs(np.corrcoef(start[:, 0], noisy[:, 0])[0, 1]) < 0.99


def test_one_step_gives_the_mean_and_steps_of_a_sampler_are_levels():
    x = np.asarray(exact("cosine", "v").sample(KEY, 100, steps=1))
    np.testing.assert_allclose(x, np.tile(MEAN, (100, 1)), atol=2e-4)
    for schedule in (Schedule("linear", 7), Schedule("cosine", 1000)):
        for count in range(1, 8):
            chosen = schedule.chosen(count)
            assert chosen[0] == schedule.steps
            assert chosen[-1] == 0
            assert np.all(np.diff(chosen) < 0)


def trained(loss, schedule, steps=2000, **options):
    model = Diffusion.create(KEY, (2,), hidden=(64, 64), schedule=schedule, **options)
    x = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    adam = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    learner = et.Learner(et.Gradient(loss), adam)
    phase = et.Phase("fit", learner, et.ArrayData(x, 256), et.Steps(steps))
    return et.Trainer(model, phase, progress=False).fit().model


def test_training_finds_the_floor():
    model = trained(Denoising(), Schedule("linear"), predict="eps")
    x = jax.random.normal(jax.random.key(1), (50_000, 2))
    plain, _ = losses(model, x)
    assert float(plain) == pytest.approx(0.27551, rel=0.02)


def test_score_matching_finds_the_score():
    schedule = Schedule("geometric", 50, (0.3, 5.0))
    model = trained(Denoising(), schedule, predict="eps")
    for level in (1, 20, 50):
        sigma = schedule.levels.noise[level]
        x = np.sqrt(1 + sigma**2) * jax.random.normal(jax.random.key(2), (2000, 2))
        x = x.astype(jnp.float32)
        error = model.score(x, jnp.full(2000, level)) + x / (1 + sigma**2)
        # Of a score whose root mean square is 1 / sqrt(1 + sigma^2).
        assert float(jnp.sqrt(jnp.mean(error**2) * (1 + sigma**2))) < 0.12


@cache
def network():
    """A small U-Net with weights where there are zeros at first."""
    net = UNet.create(KEY, (4, 4), widths=(4, 8), classes=3)

    def zeros(net):
        return [net.end.weight, *(block.outward.weight for block in (*net.down, *net.up))]

    weights = [jax.random.normal(KEY, weight.shape) for weight in zeros(net)]
    return eqx.tree_at(zeros, net, weights)


def small(net=None, **options):
    net = network() if net is None else net
    options = {"classes": 3, "bounds": (0.0, 1.0), **options}
    return Diffusion.create(KEY, (4, 4), net=net, schedule=Schedule(steps=20), **options)


class Unlabelled(eqx.Module):
    """A network that is told of no class."""

    net: UNet

    def __call__(self, x, time, labels):
        return self.net(x, time, jnp.zeros((len(x), 3)))


def test_guidance_of_0_and_1_are_the_models_to_the_bit():
    model = small()
    net, schedule = Unlabelled(model.net), model.schedule
    free = Diffusion.create(KEY, (4, 4), net=net, bounds=(0.0, 1.0), schedule=schedule)
    without = model.sample(KEY, 5, guidance=0.0)
    np.testing.assert_array_equal(without, free.sample(KEY, 5))
    np.testing.assert_array_equal(without, model.sample(KEY, 5, 2, guidance=0))
    plain = small(drop=0.0).sample(KEY, 5, 2)  # a model that knows nothing of guidance
    np.testing.assert_array_equal(model.sample(KEY, 5, 2), plain)
    assert not np.allclose(plain, without)


def test_guidance_is_linear_in_the_prediction():
    model = small()
    x, level = jax.random.normal(KEY, (6, 4, 4)), jnp.arange(1, 7)
    labels = jax.nn.one_hot(jnp.arange(6) % 3, 3)
    predicted = eqx.filter_jit(model.predicted)
    given, free, both = (
        predicted(x, level, labels, weight) for weight in (1.0, 0.0, jnp.float32(2.5))
    )
    np.testing.assert_allclose(both, free + 2.5 * (given - free), rtol=1e-4, atol=1e-4)
    assert not np.allclose(given, free)
    twice = model.sample(KEY, 4, jnp.arange(4) % 3, guidance=2.0)
    assert float(twice.min()) >= 0
    assert float(twice.max()) <= 1


def test_labels_are_left_out_as_often_as_told():
    space = small(drop=0.25).space
    rows = jax.nn.one_hot(jnp.zeros(4000, int), 3)
    kept = np.asarray(space.dropped(KEY, rows)).sum(1)
    assert set(kept.tolist()) == {0.0, 1.0}
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    assert small(drop=0.0).space.dropped(KEY, rows) is rows
    assert small().space.drop == 0.1


def test_a_network_on_pictures_sees_every_pixel_once():
    # Convolutions, halves and patches put every pixel where it belongs.
    shape = (8, 4, 2)
    net = UNet.create(KEY, shape, widths=(4, 8), patch=2)
    x = jax.random.normal(KEY, (3, *shape))
    np.testing.assert_array_equal(net._pixels(net._patches(x)), x)
    assert eqx.filter_eval_shape(net, x, jnp.zeros(3), None).shape == x.shape
    weight = jax.random.normal(KEY, (9 * 2, 5))
    layer = eqx.tree_at(lambda c: c.weight, type(net.begin)(2, 5, key=KEY), weight)
    wanted = jax.lax.conv_general_dilated(
        x, weight.reshape(3, 3, 2, 5), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(layer(x), wanted, rtol=1e-4, atol=1e-5)


def test_labels_and_times_reach_the_network():
    net = eqx.filter_jit(network())
    x, time, rows = jax.random.normal(KEY, (2, 4, 4)), jnp.array([0.1, 0.1]), jnp.eye(3)[:2]
    y = net(x, time, rows)
    assert not np.allclose(y[0], net(x, time, rows[::-1])[0])
    assert not np.allclose(y[0], net(x, 2 * time, rows)[0])
    # A picture's answer does not depend on those beside it.
    np.testing.assert_allclose(y[:1], net(x[:1], time[:1], rows[:1]), rtol=1e-4, atol=1e-5)


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Schedule("quadratic"), "kind 'quadratic' is unknown"),
        (lambda: Schedule(steps=1), "steps must be at least 2"),
        (lambda: Schedule(steps=2.5), "steps must be a whole number; got 2.5"),
        (lambda: Schedule("geometric", scales=(1, 2, 3)), r"two numbers.*got \(1, 2, 3\)"),
        (lambda: Diffusion.create(KEY, (2,), schedule="cosine"), "is a Schedule; got 'cosine'"),
        (lambda: small(bounds=(0.0, 0.5, 1.0)), "bounds must be in order, two finite numbers"),
        (lambda: small(bounds=(0.0, np.inf)), "bounds must be in order, two finite numbers"),
        (lambda: small(drop=np.nan), "drop is a share"),
        (lambda: small().sample(KEY, 2.5, 1), "count must be a whole number"),
        (lambda: small().sample(KEY, 2, 1, steps=2.5), "got 2.5 for the sampler"),
        (lambda: small().sample(KEY, 2, 1, eta=np.nan), "eta is from 0 to 1"),
        (lambda: small().sample(KEY, 2, 1, eta="1"), "eta is from 0 to 1"),
        (lambda: small().sample(KEY, 2, 1, guidance=np.inf), "guidance counts from 0 on; got inf"),
        (lambda: small().sample(KEY, 2, 1, guidance="2"), "guidance counts from 0 on; got '2'"),
        (lambda: Denoising(np.inf), "min_snr must be a finite number"),
        (lambda: UNet.create(KEY, (8, 8), patch=2.0), "patch must be a whole number"),
        (lambda: Schedule(scales=(0.1, 1.0)), "scales are for kind 'geometric'"),
        (lambda: Schedule("geometric", scales=(1.0, 0.1)), "positive and in order"),
        (lambda: Diffusion.create(KEY, (2,), predict="score"), "predict is one of"),
        (lambda: Diffusion.create(KEY, (2,), schedule=Schedule("geometric")), "v needs a schedule"),
        (lambda: Diffusion.create(KEY, (2,), drop=0.1), "there are none: give classes"),
        (lambda: Diffusion.create(KEY, (2,), bounds=(1.0, 0.0)), "bounds must be in order"),
        (lambda: Diffusion.create(KEY, (4, 4), net=network(), hidden=(3,)), "Leave one out"),
        (lambda: Diffusion.create(KEY, (2,), hidden=(0,)), r"hidden\[0\] must be at least 1"),
        (lambda: Denoising(0.0), "min_snr must be positive"),
        (lambda: UNet.create(KEY, (6, 6), widths=(8, 8, 8)), "multiples of 4; got 6 x 6"),
        (lambda: UNet.create(KEY, (6,)), "needs a shape"),
        (lambda: small(classes=2).sample(KEY, 2, 1), "with classes=3, and the model has 2"),
        (lambda: small(classes=0).sample(KEY, 2), "with classes=3, and the model has 0"),
        (lambda: small().sample(KEY, 2, 1, steps=21), "has 20 steps; got 21"),
        (lambda: small().sample(KEY, 2, 1, eta=2.0), "eta is from 0 to 1"),
        (lambda: small().sample(KEY, 2, 1, guidance=-1.0), "guidance counts from 0 on"),
        (lambda: small(drop=0.0).sample(KEY, 2, 1, guidance=2.0), "drop=0.1"),
        (lambda: exact("cosine", "v").sample(KEY, 2, guidance=2.0), "both with labels and without"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(et.ConfigurationError, match=words):
        make()


def _one_value(x, time, labels):
    return x[:, :1]


def _scalar(x, time, labels):
    return jnp.zeros(())


def _whole(x, time, labels):
    return jnp.zeros(x.shape, int)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [Diffusion, ContinuousFlow])
@pytest.mark.parametrize(
    ("net", "words"),
    [
        (_one_value, r"float32 of shape \(2, 1\), expected real values"),
        (_scalar, r"float32 of shape \(\)"),
        (_whole, r"int32 of shape \(2, 2\)"),
        (lambda x, time, labels: 0.0, "gave float, expected"),
        (lambda x: x, r"net fails for x of shape \(2, 2\)"),
        (3, "net is a function"),
        (UNet.create(KEY, (4, 4), widths=(4,)), "one shape and the same classes"),
        (TimePerceptron.create(KEY, (3,)), "one shape and the same classes"),
        (TimePerceptron.create(KEY, (2,), classes=2), "labels of shape None"),
    ],
    ids=["narrow", "scalar", "integer", "number", "arguments", "type", "unet", "shape", "classes"],
)
def test_a_network_of_other_examples_is_refused(kind, net, words):
    with pytest.raises(et.ConfigurationError, match=f"(?s)^{kind.__name__}: .*{words}"):
        kind.create(KEY, (2,), net=net)


def test_what_a_network_gives_is_never_broadcast():
    # A network may be put in place of another behind the back of `create`.
    x, context = jnp.zeros((3, 2)), et.Context.at(KEY)
    for kind, loss in ((Diffusion, Denoising()), (ContinuousFlow, FlowMatching())):
        model = eqx.tree_at(lambda m: m.net, kind.create(KEY, (2,), hidden=(4,)), _one_value)
        with pytest.raises(et.ConfigurationError, match="expected real values"):
            loss(model, x, context)
        with pytest.raises(et.ConfigurationError, match="expected real values"):
            model.sample(KEY, 3, steps=2)


def test_bad_data_are_refused_before_anything_is_compiled():
    model = Diffusion.create(KEY, (4, 4), hidden=(8,), classes=3, bounds=(0.0, 1.0))
    x = np.zeros((3, 4, 4), np.float32)
    context = et.Context.at(KEY)
    for batch, words in [
        (x, "the batch no labels"),
        ((x.astype(np.uint8), np.zeros(3, int)), "got uint8. Divide"),
        ((x[:, 0], np.zeros(3, int)), "has the shape"),
        ({"labels": np.zeros(3, int)}, "no 'images'"),
    ]:
        with pytest.raises(et.DataError, match=words):
            Denoising()(model, batch, context)
    with pytest.raises(et.DataError, match="has 3 classes"):
        model.sample(KEY, 2)
    with pytest.raises(et.DataError, match="not trained with labels"):
        exact("cosine", "v").sample(KEY, 2, 1)
    beyond = (x + 2, np.zeros(3, np.int32))
    with pytest.raises(et.DataError, match="Diffusion: got values from"):
        Denoising()(model, beyond, context)
    # Under jit no value is seen: the loss says that they are out of range.
    assert np.isnan(eqx.filter_jit(Denoising())(model, beyond, context)[0])


def test_evaluation_changes_nothing_and_repeats():
    model = Diffusion.create(KEY, (4, 4), hidden=(8,), classes=3, bounds=(0.0, 1.0))
    x = np.random.default_rng(0).random((8, 4, 4)).astype(np.float32)
    data = et.ArrayData({"images": x, "labels": np.arange(8) % 3}, 4)

    def fit(validation):
        learner = et.Learner(et.Gradient(Denoising()), optax.adam(1e-3), ema=0.9)
        phase = et.Phase("fit", learner, data, et.Steps(6), validation, keep="ema")
        return et.Trainer(model, phase, progress=False).fit().model

    often = et.Validation(data, Denoising(), every=et.Steps(1), ema=True)
    first, second = fit(often), fit(None)
    leaves = [jax.tree.leaves(eqx.filter(model, eqx.is_array)) for model in (first, second)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)
