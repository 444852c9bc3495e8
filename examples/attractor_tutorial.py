"""Train an attractor network by hand, without gradients: the loop written out, nothing compiled.

Run it with ``python examples/attractor_tutorial.py``. A hidden layer of coupled binary units hears
the input, itself and, while it is taught, the label. It settles with the label, settles on
without it, and then each connection learns to keep what is left. `etude.Trainer` does the same
many times faster; this file shows that there is no more to it.
"""

from typing import Any

import equinox as eqx
import jax
import optax

from etude.systems.attractor import (
    FrozenFullyConnected,
    FullyConnected,
    LayerMap,
    OutputLayer,
    PrototypeData,
    RecurrentDiscrete,
    SequentialOrchestrator,
    SequentialState,
    batch_accuracy,
)

DIM_DATA, DIM_HIDDEN, NUM_LABELS = 100, 256, 10
TRAIN_STEPS = 10  # sweeps of each of the two training phases
EVAL_STEPS = 10  # sweeps before a prediction


def build(key: jax.Array) -> SequentialOrchestrator:
    """Layer 0 is the input, 1 the hidden layer, 2 the output. Only 1 and 2 have rows."""
    keys = jax.random.split(key, num=5)
    hidden = {
        0: FullyConnected(
            in_features=DIM_DATA,
            out_features=DIM_HIDDEN,
            strength=1.0,
            threshold=3.5,
            key=keys[0],
        ),
        1: RecurrentDiscrete(features=DIM_HIDDEN, j_d=0.5, threshold=0.5, key=keys[1]),
        2: FrozenFullyConnected(
            in_features=NUM_LABELS,
            out_features=DIM_HIDDEN,
            strength=0.3,
            threshold=0.0,
            key=keys[2],
        ),
    }
    output = {
        1: FullyConnected(
            in_features=DIM_HIDDEN,
            out_features=NUM_LABELS,
            strength=1.0,
            threshold=3.5,
            key=keys[3],
        ),
        2: OutputLayer(),
    }
    return SequentialOrchestrator(layers=LayerMap.from_dict({1: hidden, 2: output}))


def train_step(
    orchestrator: SequentialOrchestrator,
    state: SequentialState,
    x: jax.Array,
    y: jax.Array,
    rng: jax.Array,
    *,
    optimizer: optax.GradientTransformation,
    opt_state: Any,
) -> tuple[SequentialOrchestrator, Any]:
    """Settle with the label, settle without it, learn."""
    state = state.init(x, y)
    for _ in range(TRAIN_STEPS):
        state, rng = orchestrator.step(state, rng=rng)
    for _ in range(TRAIN_STEPS):
        state, rng = orchestrator.step_inference(state, rng=rng)

    # The rule returns a tree of the network's shape, which optax takes for gradients.
    updates = eqx.filter(orchestrator.backward(state, rng=rng), eqx.is_inexact_array)
    params = eqx.filter(orchestrator, eqx.is_inexact_array)
    updates, opt_state = optimizer.update(updates, opt_state, params=params)
    return eqx.apply_updates(orchestrator, updates), opt_state


def eval_step(
    orchestrator: SequentialOrchestrator,
    state: SequentialState,
    x: jax.Array,
    y: jax.Array,
    rng: jax.Array,
) -> float:
    """Settle from the input alone, then read the output."""
    state = state.init(x, None)
    for _ in range(EVAL_STEPS):
        state, rng = orchestrator.step_inference(state, rng=rng)
    state, rng = orchestrator.predict(state, rng)
    return batch_accuracy(y, state[-1])


def main(model_seed: int = 44, data_seed: int = 59, epochs: int = 3) -> dict[str, float]:
    """Train, and measure on the training stream and on fresh samples."""
    state = SequentialState((DIM_DATA, DIM_HIDDEN, NUM_LABELS))
    orchestrator = build(jax.random.key(model_seed))
    optimizer = optax.adam(5e-3)
    opt_state = optimizer.init(eqx.filter(orchestrator, eqx.is_inexact_array))

    rng, data_key = jax.random.split(jax.random.key(data_seed))
    data = PrototypeData(data_key, batch_size=16, num_prototypes=NUM_LABELS)
    for epoch in range(epochs):
        for x, y in data:
            rng, step_key = jax.random.split(rng)
            orchestrator, opt_state = train_step(
                orchestrator, state, x, y, step_key, optimizer=optimizer, opt_state=opt_state
            )
        stream = [eval_step(orchestrator, state, x, y, rng) for x, y in data]
        print(f"epoch {epoch + 1}: accuracy on the stream {sum(stream) / len(stream):.3f}")
    held_out = eval_step(orchestrator, state, *data.sample(jax.random.key(1), 4000), rng)
    print(f"held-out accuracy {held_out:.3f}")
    return {"stream": sum(stream) / len(stream), "held_out": held_out}


if __name__ == "__main__":
    main()
