"""A returned leaf that changed and may not move is refused; one that did not change never is."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import etude as et
from etude.engine.forwarding import copies

MODEL = {"w": jnp.ones(3), "frozen": jnp.ones(3), "trace": jnp.ones(3), "mask": et.Fixed(1.0)}


def value(model, batch):
    return jnp.sum((model["w"] * model["frozen"] * batch) ** 2) + jnp.sum(model["trace"] * 0)


def plain(model, batch):
    return value(model, batch), model


def changed(model, batch):
    return value(model, batch), {**model, "trace": model["trace"] + 1}


def in_scan(body, model, batch):
    def step(model, x):
        v, model = body(model, x)
        return model, v

    model, values = jax.lax.scan(step, model, jnp.stack([batch, batch]))
    return values.sum(), model


def in_while(body, model, batch):
    """A loop that reverse differentiation does not enter."""
    model = jax.lax.stop_gradient(model)
    _, after = jax.lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, body(c[1], batch)[1]), (0, model)
    )
    return value(model, batch), after


def in_cond(body, model, batch):
    return jax.lax.cond(
        batch.sum() > 0, lambda m: body(m, batch), lambda m: (value(m, batch) * 2, m), model
    )


def in_vmap(body, model, batch):
    values, models = jax.vmap(body, in_axes=(None, 0), out_axes=(0, None))(model, batch[None])
    return values.sum(), models


def in_custom_vjp(body, model, batch):
    @jax.custom_vjp
    def f(model, batch):
        return body(model, batch)

    def back(saved, cotangent):
        return jax.tree.map(jnp.zeros_like, saved)

    f.defvjp(lambda model, batch: (f(model, batch), (model, batch)), back)
    return f(model, batch)


def in_custom_jvp(body, model, batch):
    @jax.custom_jvp
    def f(model):
        return body(model, batch)

    @f.defjvp
    def jvp(primals, tangents):
        after = f(*primals)
        return after, (jnp.zeros_like(after[0]), tangents[0])

    return f(model)


def stopped(body):
    return lambda model, batch: jax.lax.stop_gradient(body(model, batch))


WAYS = {
    "plain": lambda body: body,
    "jit": jax.jit,
    "remat": jax.checkpoint,
    "scan": lambda body: partial(in_scan, body),
    "while": lambda body: partial(in_while, body),
    "cond": lambda body: partial(in_cond, body),
    "vmap": lambda body: partial(in_vmap, lambda m, b: body(m, b)),
    "custom_vjp": lambda body: partial(in_custom_vjp, body),
    "custom_jvp": lambda body: partial(in_custom_jvp, body),
    "stop_gradient": stopped,
    "scan of remat": lambda body: partial(in_scan, jax.checkpoint(body)),
    "while of stop_gradient": lambda body: partial(in_while, stopped(body)),
    "cond of stop_gradient": lambda body: partial(in_cond, stopped(body)),
    "filter_jit": eqx.filter_jit,
    "jit of remat": lambda body: jax.jit(jax.checkpoint(body)),
    "remat of jit": lambda body: jax.checkpoint(jax.jit(body)),
    "remat of scan": lambda body: jax.checkpoint(partial(in_scan, body)),
    "jit of scan of cond": lambda body: jax.jit(partial(in_scan, partial(in_cond, body))),
}


def plan_of(way, body, **options):
    def loss(model, batch, context):
        arrays, static = eqx.partition(model, eqx.is_array)

        def bare(arrays, batch):
            v, after = body(eqx.combine(arrays, static), batch)
            return v, eqx.filter(after, eqx.is_array)

        v, after = way(bare)(arrays, batch)
        # A gradient flows through the loss alone.
        return value(model, batch) + 0 * jax.lax.stop_gradient(v), {}, eqx.combine(after, static)

    options = {"where": lambda m: m["w"]} | options
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1), **options)
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones((4, 3)), 4), et.Steps(1))
    return et.Plan.of(phase, MODEL), phase


def traced(way, body, **options):
    plan, _ = plan_of(way, body, **options)
    state = jax.eval_shape(lambda: et.init_state(plan, MODEL))
    return jax.eval_shape(partial(et.train_step, plan), state, jnp.ones((4, 3)))


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2, "precision": "bfloat16"}], ids=["", "half parts"]
)
def test_a_model_that_comes_back_unchanged_raises_no_alarm(name, options):
    traced(WAYS[name], plain, **options)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("options", [{"accumulate": 2}], ids=["parts"])
def test_a_change_that_would_be_lost_is_seen_through_every_transformation(name, options):
    with pytest.raises(et.RuleError, match=r"\['trace'\] is a parameter that this learner does not "
                       r"own. Wrap it in et.Carry") as caught:  # fmt: skip
        traced(WAYS[name], changed, **options)
    assert "['frozen']" not in str(caught.value), "only what changed is named"
    assert "['w']" not in str(caught.value)


def test_an_eager_step_raises_no_alarm_either():
    """Compiled functions that are called eagerly return new arrays for what they hand through."""
    plan, _ = plan_of(jax.jit, plain)
    state = et.init_state(plan, MODEL)
    after, _ = et.train_step(plan, state, jnp.ones((4, 3)))
    assert (after.model["trace"] == 1).all()


def test_a_population_raises_no_alarm_either():
    plan, _ = plan_of(jax.checkpoint, plain)
    states = eqx.filter_vmap(lambda i: et.init_state(plan, MODEL), axis_size=2)(None)
    step = partial(et.train_step, plan)
    jax.eval_shape(jax.vmap(step, in_axes=(0, None)), states, jnp.ones((4, 3)))


def refused(loss, model=MODEL, match="", **options):
    options = {"where": lambda m: m["w"]} | options
    rule = options.pop("rule", None) or et.Gradient(loss)
    learner = et.Learner(rule, options.pop("optimizer", optax.sgd(0.1)), **options)
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones((4, 3)), 4), et.Steps(1))
    with pytest.raises(et.ConfigurationError, match=match) as caught:
        et.Trainer(model, phase, progress=False)
    return str(caught.value)


def returning(**new):
    def loss(model, batch, context):
        return value(model, batch), {}, {**model, **{k: f(model[k]) for k, f in new.items()}}

    return loss


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("new", "match"),
    [
        ({"w": lambda w: w.clip(-1, 1)}, r"\['w'\] is moved by the optimizer.*project"),
        ({"frozen": lambda w: w * 2}, r"\['frozen'\] is a parameter that this learner does not"),
    ],
)
def test_each_role_has_its_cure(new, match, precision):
    refused(returning(**new), match=match, precision=precision)


def test_fixed_arrays_and_constants_are_refused():
    model = {**MODEL, "mask": et.Fixed(jnp.ones(3)), "seen": 0}
    refused(returning(mask=lambda m: et.Fixed(m.value * 2)), model, r"\['mask'\]\.value is in et.F")
    refused(returning(seen=lambda n: n + 1), model, r"\['seen'\], where the model holds the const")
    refused(returning(seen=lambda n: n + jnp.ones(())), model, r"\['seen'\], where the model hold")


def test_other_arrays_are_refused_by_name():
    model = {**MODEL, "carry": et.Carry(jnp.zeros(2)), "count": jnp.int32(0)}
    shapes = r"\['carry'\]\.value has shape \(1,\), expected \(2,\)"
    refused(returning(carry=lambda c: et.Carry(c.value[:1])), model, shapes)
    refused(lambda m, b, c: (value(m, b), {}, {"w": m["w"]}), model, r"\['count'\] is missing")
    refused(
        returning(count=lambda n: n.astype(float) + 0.5),
        model,
        r"float32 at \['count'\], where it held int",
    )


def test_own_rules_are_told_alike():
    def rule(trainable, rest, batch, context):
        model = eqx.combine(trainable, rest)
        return et.Proposal(trainable, model={**model, "trace": model["trace"] * 0.9})

    refused(None, rule=rule, match=r"\['trace'\] is a parameter that this learner does not own")


def test_nnx_changes_in_place_are_seen():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(3, 1, rngs=rngs)
            self.calls = nnx.Variable(jnp.int32(0))

    def counting(model, batch, context):
        model.calls[...] += 1
        return jnp.mean(model.linear(batch) ** 2)

    def clipping(model, batch, context):
        model.linear.kernel[...] = jnp.clip(model.linear.kernel[...], -0.1, 0.1)
        return jnp.mean(model.linear(batch) ** 2)

    model = Net(nnx.Rngs(0))
    refused(clipping, model, r"linear\.kernel.* is moved by the optimizer", where=None)
    learner = et.Learner(et.Gradient(counting), optax.sgd(0.1))
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones((4, 3)), 4), et.Steps(3))
    assert int(et.Trainer(model, phase, progress=False).fit().model.calls[...]) == 3


def test_an_own_rule_may_change_a_module_in_place():
    class Net(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(3))
            self.calls = nnx.Variable(jnp.int32(0))

    def in_place(name, returned):
        def rule(trainable, rest, batch, context):
            model = trainable if name == "w" else rest
            variable = getattr(model, name)
            variable.set_value(variable.get_value() + 1)
            model = eqx.combine(trainable, rest)
            return et.Proposal(jax.tree.map(jnp.zeros_like, trainable), model=returned and model)

        return rule

    for returned in (None, True):
        refused(None, Net(), r"\.w.* is moved by the optimizer", rule=in_place("w", returned),
                where=None)  # fmt: skip
        learner = et.Learner(in_place("calls", returned), optax.sgd(0.1))
        phase = et.Phase("fit", learner, et.ArrayData(jnp.ones((4, 3)), 4), et.Steps(3))
        assert int(et.Trainer(Net(), phase, progress=False).fit().model.calls[...]) == 3


def test_a_projection_of_a_module():
    net = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    learner = et.Learner(
        et.Gradient(lambda m, b, c: -jnp.mean(m(b))), optax.sgd(1.0),
        project=lambda m: jax.tree.map(lambda w: jnp.clip(w, -0.1, 0.1), m),
    )  # fmt: skip
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones((4, 3)), 4), et.Steps(1))
    trained = et.Trainer(net, phase, progress=False).fit().model
    np.testing.assert_allclose(trained.kernel[...], 0.1, rtol=1e-6)


def test_steps_that_are_not_compiled_raise_no_alarm():
    plan, _ = plan_of(WAYS["while"], plain)
    state = et.init_state(plan, MODEL)
    with jax.disable_jit():
        after, _ = et.train_step(plan, state, jnp.ones((4, 3)))
    assert (after.model["trace"] == 1).all()


def test_copies_of_a_jaxpr():
    def function(x, y):
        a, b = jax.lax.cond(x > 0, lambda x, y: (x, y), lambda x, y: (x, y + 1), x, y)
        _, ys = jax.lax.scan(lambda c, x: (c, x), 0.0, jnp.stack([x, y]))
        return a, b, x + 0, ys[0], 3.0

    found = copies(jax.make_jaxpr(function)(1.0, 2.0).jaxpr)
    assert found == [0, None, None, None, None]
    stacked = jax.make_jaxpr(lambda x: jax.lax.scan(lambda c, x: (c + 1, x), 0, x))(np.ones(3))
    assert copies(stacked.jaxpr) == [None, 0]
