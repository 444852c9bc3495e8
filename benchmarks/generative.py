"""Generative models: steps beside loops by hand and beside FlowJAX, and compiled sampling.

By hand means plain JAX on a list of weights: the loss written out, `lax.scan` over the batches of
an epoch, permuted and gathered on the device, the loss read once.
"""

import importlib.util
import time
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks.ours import Clock
from benchmarks.rounds import ratio
from benchmarks.tables import section, table
from etude.systems import generative

#: Values, hidden widths, latent components and examples per step.
VAES = {"784-512-256-64": (784, (512, 256), 64, 128), "64-32-32-4": (64, (32, 32), 4, 32)}
GAN_WIDTHS, GAN_BATCH = (64, 64), 256
#: Seconds of one step of the original beside those of a hand-written scan; see the reference.
ORIGINAL = {"784-512-256-64": "2.0", "64-32-32-4": "68"}


def report(quick: bool) -> str:
    """The three tables."""
    return "\n".join([_steps(quick), _flows(quick), _sampling(3 if quick else 15)])


class ByHand:
    """A scan over the batches of an epoch of any step."""

    def __init__(self, x: jax.Array, batch: int, carry: Any, step: Callable[..., Any]):
        steps = len(x) // batch

        def epoch(carry: Any, x: jax.Array, key: jax.Array) -> Any:
            order, key = jax.random.permutation(key, len(x))[: steps * batch], key

            def body(carry: Any, place: Any) -> Any:
                rows, number = place
                return step(carry, x[rows], jax.random.fold_in(key, number))

            return jax.lax.scan(body, carry, (order.reshape(steps, batch), jnp.arange(steps)))

        self.x, self.steps, self.carry, self.seeds = x, steps, carry, count()
        self.epoch = jax.jit(epoch, donate_argnums=0)

    def train(self, epochs: int) -> float:
        """Processor seconds per step."""
        begin = time.process_time()
        for _ in range(epochs):
            self.carry, losses = self.epoch(self.carry, self.x, jax.random.key(next(self.seeds)))
            np.asarray(losses)
        return (time.process_time() - begin) / (epochs * self.steps)


class Ours:
    """`Trainer.fit` on a phase, timed from its first chunk to its last."""

    def __init__(self, model: Any, learners: Any, x: jax.Array, batch: int):
        self.model, self.learners, self.seeds = model, learners, count()
        self.data = et.ArrayData(x, batch, drop_last=True)

    def train(self, epochs: int) -> float:
        """Processor seconds per step."""
        clock = Clock(time.process_time)
        phase = et.Phase("fit", self.learners, self.data, et.Epochs(epochs))
        seed = next(self.seeds)
        trainer = et.Trainer(self.model, phase, callbacks=[clock], seed=seed, progress=False)
        self.model = trainer.fit().model
        return (clock.end - clock.begin) / (clock.last - clock.first)


def vae_by_hand(model: generative.VAE) -> tuple[Any, Callable[..., jax.Array]]:
    """The weights of a VAE as lists, and its bound written out for them."""

    def lists(net: Any) -> list[tuple[Any, Any]]:
        return [(jnp.array(layer.weight), jnp.array(layer.bias)) for layer in net.layers]

    def run(layers: Any, x: jax.Array) -> jax.Array:
        for number, (w, b) in enumerate(layers):
            x = x @ w.T + b
            x = jax.nn.gelu(x) if number + 1 < len(layers) else x
        return x

    def loss(weights: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        encoder, decoder = weights
        mean, log_scale = jnp.split(run(encoder, x), 2, axis=-1)
        z = mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape)
        logits = run(decoder, z)
        each = x * jax.nn.log_sigmoid(logits) + (1 - x) * jax.nn.log_sigmoid(-logits)
        kl = 0.5 * (mean**2 + jnp.exp(2 * log_scale) - 1 - 2 * log_scale).sum(-1)
        return (kl - each.sum(-1)).mean()

    return (lists(model.encoder), lists(model.decoder)), loss


def _vaes(quick: bool) -> dict[str, tuple[ByHand, Ours, str]]:
    found = {}
    for name, (values, hidden, latent, batch) in VAES.items():
        rows = batch * (5 if quick else 100)
        x = jax.random.bernoulli(jax.random.key(0), 0.3, (rows, values)).astype(jnp.float32)
        model = generative.VAE.create(jax.random.key(1), (values,), latent=latent, hidden=hidden)
        weights, loss = vae_by_hand(model)
        adam = optax.adam(1e-3)

        def step(carry: Any, x: jax.Array, key: jax.Array, *, loss: Any = loss, adam: Any = adam):
            weights, memory = carry
            value, grads = jax.value_and_grad(loss)(weights, x, key)
            updates, memory = adam.update(grads, memory, weights)
            return (optax.apply_updates(weights, updates), memory), value

        learner = et.Learner(et.Gradient(generative.Bound()), adam)
        by_hand = ByHand(x, batch, (weights, adam.init(weights)), step)
        found[f"VAE {name}, batches of {batch}"] = by_hand, Ours(model, learner, x, batch), name
    return found


def _gan(quick: bool) -> tuple[ByHand, Ours]:
    x = generative.DENSITIES["eight-gaussians"].sample(
        jax.random.key(0), GAN_BATCH * (10 if quick else 100)
    )
    model = generative.GAN.create(jax.random.key(1), (2,), latent=2, hidden=GAN_WIDTHS)
    adam = optax.adam(1e-3, b1=0.0)

    def run(layers: Any, x: jax.Array) -> jax.Array:
        for number, (w, b) in enumerate(layers):
            x = x @ w.T + b
            x = jax.nn.gelu(x) if number + 1 < len(layers) else x
        return x

    generator, critic = (
        [(jnp.array(layer.weight), jnp.array(layer.bias)) for layer in net.layers]
        for net in (model.generator, model.critic)
    )

    def critic_loss(critic: Any, generator: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        fake = run(generator, jax.random.normal(key, x.shape))
        real, fake = run(critic, x)[:, 0], run(critic, fake)[:, 0]
        slopes = jax.grad(lambda x: run(critic, x).sum())(x)
        penalty = 0.05 * (slopes**2).sum(-1).mean()
        return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean() + penalty

    def generator_loss(generator: Any, critic: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        return jax.nn.softplus(-run(critic, run(generator, jax.random.normal(key, x.shape)))).mean()

    def step(carry: Any, x: jax.Array, key: jax.Array) -> Any:
        critic, generator, first, second = carry
        one, two = jax.random.split(key)
        value, grads = jax.value_and_grad(critic_loss)(critic, generator, x, one)
        updates, first = adam.update(grads, first, critic)
        critic = optax.apply_updates(critic, updates)
        other, grads = jax.value_and_grad(generator_loss)(generator, critic, x, two)
        updates, second = adam.update(grads, second, generator)
        return (critic, optax.apply_updates(generator, updates), first, second), value + other

    carry = critic, generator, adam.init(critic), adam.init(generator)
    learners = generative.Adversarial("non-saturating", r1=0.1).learners(adam, adam)
    return ByHand(x, GAN_BATCH, carry, step), Ours(model, learners, x, GAN_BATCH)


def _steps(quick: bool) -> str:
    pairs: dict[str, tuple[ByHand, Ours, str]] = _vaes(quick)
    pairs[f"GAN 2-64-64-2, R1, batches of {GAN_BATCH}"] = (*_gan(quick), "")
    goals = ("1.05", "1.15", "1.05")
    body = []
    for (name, (by_hand, ours, original)), goal in zip(pairs.items(), goals, strict=True):
        by_hand.train(1)
        epochs = max(2, 1 if quick else round(1.0 / (by_hand.train(1) * by_hand.steps)))
        hand, mine = [], []
        for _ in range(3 if quick else 7):
            hand.append(by_hand.train(epochs))
            mine.append(ours.train(max(epochs, 2 if quick else 10)))
        body.append(
            [
                name,
                f"{1e3 * median(hand):.3f}",
                f"{1e3 * median(mine):.3f}",
                str(ratio(mine, hand)),
                goal,
                ORIGINAL.get(original, "-"),
            ]
        )
    head = ["step", "by hand, ms", "ours, ms", "ours by hand", "goal", "the original by hand"]
    notes = [
        "Processor time; medians (quartiles) of the ratios of interleaved rounds.",
        "The original is artifex 0.1.15, as measured elsewhere: it needs Python 3.12.",
    ]
    return section("Steps of generative models", table(head, body), notes)


def _flows(quick: bool) -> str:
    """Splines in 8 couplings on two moons; the peer only where it is installed."""
    steps, batch = (60, 256) if quick else (1080, 256)
    x = generative.Moons(0.1).sample(jax.random.key(0), 20_000)
    model = generative.Flow.create(
        jax.random.key(1), (2,), elementwise=generative.Spline(), layers=8, hidden=(50, 50)
    )
    loss = generative.NegativeLogLikelihood()
    learner = et.Learner(et.Gradient(loss), optax.adam(1e-3))
    begin, clock = time.process_time(), Clock(time.process_time)
    phase = et.Phase("fit", learner, et.ArrayData(x, batch), et.Steps(steps))
    result = et.Trainer(model, phase, callbacks=[clock], progress=False).fit()
    whole = time.process_time() - begin
    each = (clock.end - clock.begin) / (clock.last - clock.first)
    test = generative.Moons(0.1).sample(jax.random.key(2), 10_000)
    value = float(-jax.jit(lambda m, x: m.log_prob(x).mean())(result.model, test))
    rows = [["étude", f"{1e3 * each:.2f}", f"{whole - each * steps:.1f}", f"{value:.3f}"]]
    notes = [
        f"{steps} steps of {batch} points; the entropy is {generative.Moons(0.1).entropy:.3f}."
    ]
    if importlib.util.find_spec("flowjax") is None:
        notes.append("FlowJAX: not installed.")
    else:
        rows.append(_flowjax(x, test, batch, steps))
    head = ["two moons, 8 spline couplings", "ms a step", "s to compile", "test -log p"]
    return section("Normalising flows", table(head, rows), notes)


def _flowjax(x: jax.Array, test: jax.Array, batch: int, steps: int) -> list[str]:
    from flowjax.bijections import RationalQuadraticSpline  # pyright: ignore[reportMissingImports]
    from flowjax.distributions import Normal  # pyright: ignore[reportMissingImports]
    from flowjax.flows import coupling_flow  # pyright: ignore[reportMissingImports]
    from flowjax.train import fit_to_data  # pyright: ignore[reportMissingImports]

    flow = coupling_flow(
        jax.random.key(1),
        base_dist=Normal(jnp.zeros(2)),
        transformer=RationalQuadraticSpline(knots=8, interval=4),
        flow_layers=8,
        nn_width=50,
        nn_depth=2,
    )
    share = 0.1
    per_epoch = int(len(x) * (1 - share)) // batch
    epochs = max(1, steps // per_epoch)

    def fit(flow: Any, epochs: int) -> tuple[Any, float]:
        begin = time.process_time()
        flow, _ = fit_to_data(
            jax.random.key(3),
            flow,
            x,
            learning_rate=1e-3,
            max_epochs=epochs,
            max_patience=epochs,
            batch_size=batch,
            val_prop=share,
            show_progress=False,
        )
        return flow, time.process_time() - begin

    _, first = fit(flow, 1)
    # Its step is compiled once for the process, in the call before.
    flow, seconds = fit(flow, epochs)
    each = seconds / (epochs * per_epoch)
    value = float(-flow.log_prob(test).mean())
    compiling = first - each * per_epoch
    return ["FlowJAX 19.1.2, fit_to_data", f"{1e3 * each:.2f}", f"{compiling:.1f}", f"{value:.3f}"]


def _sampling(rounds: int) -> str:
    rows = []
    models = {
        "diffusion": generative.Diffusion.create(jax.random.key(0), (2,)),
        "flow matching": generative.ContinuousFlow.create(jax.random.key(0), (2,)),
    }
    for name, model in models.items():
        draw = jax.jit(lambda model, key: model.sample(key, 1000, steps=100))
        begin = time.perf_counter()
        draw(model, jax.random.key(0)).block_until_ready()
        first, found = time.perf_counter() - begin, []
        for number in range(rounds):
            begin = time.perf_counter()
            draw(model, jax.random.key(number)).block_until_ready()
            found.append(time.perf_counter() - begin)
        rows.append([name, f"{median(found):.3f}", f"{first - median(found):.1f}"])
    head = ["1,000 points of the plane, 100 steps", "s, warm", "s to compile"]
    return section("Sampling", table(head, rows), ["The goal is .5 s."])
