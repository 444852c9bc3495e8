"""Flax Linen modules as models: bit for bit as in a loop by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

import etude as et

X = jax.random.normal(jax.random.key(0), (24, 3))
Y = (X[:, 0] > 0).astype(jnp.int32)


class Net(linen.Module):
    @linen.compact
    def __call__(self, x, train):
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(linen.Dense(5)(x))
        x = linen.Dropout(0.5, deterministic=not train)(linen.relu(x))
        return linen.Dense(2)(x)


MODULE = Net()
VARIABLES = MODULE.init(jax.random.key(1), X[:1], train=False)
ADAM = optax.adam(1e-2)


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def loss(model, batch, context):
    logits, model = model.moved(context, batch[0], train=True)
    return cross_entropy(logits, batch[1]), {"draw": jax.random.key_data(context.key)[0]}, model


def by_hand(steps, keys):
    params, stats = VARIABLES["params"], VARIABLES["batch_stats"]
    memory = ADAM.init(params)

    def objective(params, stats, x, y, key):
        rngs = {"dropout": jax.random.split(key, 1)[0]}
        variables = {"params": params, "batch_stats": stats}
        logits, changed = MODULE.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])
        return cross_entropy(logits, y), changed["batch_stats"]

    @jax.jit
    def step(params, stats, memory, x, y, key):
        grads, stats = jax.grad(objective, has_aux=True)(params, stats, x, y, key)
        with jax.numpy_dtype_promotion("standard"):  # within optax
            updates, memory = ADAM.update(grads, memory, params)
        return optax.apply_updates(params, updates), stats, memory

    for number in range(steps):
        rows = slice(8 * (number % 3), 8 * (number % 3) + 8)
        params, stats, memory = step(params, stats, memory, X[rows], Y[rows], keys(number))
    return params, stats


def test_batch_normalisation_and_dropout_are_those_of_a_loop_by_hand():
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(loss), ADAM),
        et.ArrayData((X, Y), 8, shuffle=False),
        et.Steps(7),
    )
    model = et.linen(MODULE, VARIABLES)
    root = et.init_state(et.Plan.of(phase, model), model, seed=0).keys.step

    def key(number):
        return jax.random.fold_in(jax.random.fold_in(root, number), 0)

    params, stats = by_hand(7, key)
    result = et.Trainer(model, phase, progress=False, executor="dispatch").fit()
    leaves = jax.tree.leaves((result.model.params, result.model.others.value["batch_stats"]))
    for ours, theirs in zip(leaves, jax.tree.leaves((params, stats)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # What goes back into Flax is what it was.
    logits = MODULE.apply(result.model.variables, X, train=False)
    np.testing.assert_array_equal(logits, result.model(X, train=False))


def test_evaluation_moves_nothing_and_training_moves_the_statistics():
    model = et.linen(MODULE, VARIABLES)
    measure = et.Evaluation(lambda m, b, c: {"loss": cross_entropy(m(b[0], train=False), b[1])})
    data = et.ArrayData((X, Y), 8)
    assert measure(model, data) == measure(model, data)
    context = et.Context.at(jax.random.key(2))
    _, moved = model.moved(context, X, train=True)
    before, after = (m.others.value["batch_stats"]["BatchNorm_0"]["mean"] for m in (model, moved))
    assert float(jnp.abs(after - before).max()) > 0


def test_a_module_without_other_collections():
    module = linen.Dense(2)
    model = et.linen(module, module.init(jax.random.key(0), X))
    outputs, moved = model.moved(et.Context.at(jax.random.key(0)), X)
    assert moved is model
    assert outputs.shape == (24, 2)


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda: et.linen(VARIABLES, MODULE), et.ModelError, "no apply"),
        (lambda: et.linen(MODULE, VARIABLES["params"]), et.ModelError, "'params'; got"),
        (lambda: et.linen(MODULE, 3), et.ModelError, "got int"),
        (lambda: et.linen(MODULE, VARIABLES, ("a", "a")), et.ModelError, "different names"),
    ],
    ids=["swapped", "parameters", "number", "streams"],
)
def test_what_is_no_module_is_refused(call, error, named):
    with pytest.raises(error, match=named):
        call()


def test_collections_that_were_not_initialised_are_named():
    class Sown(linen.Module):
        @linen.compact
        def __call__(self, x):
            count = self.variable("counts", "seen", lambda: jnp.zeros(()))
            count.value = count.value + 1
            self.sow("intermediates", "x", x)
            return linen.Dense(1)(x)

    module = Sown()
    variables = module.init(jax.random.key(0), X)
    variables = {name: variables[name] for name in ("params", "counts")}
    _, moved = et.linen(module, variables).moved(et.Context.at(jax.random.key(0)), X)
    assert float(moved.others.value["counts"]["seen"]) == float(variables["counts"]["seen"]) + 1
