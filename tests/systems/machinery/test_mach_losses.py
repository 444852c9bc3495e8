"""Physics terms: their gradient is there, points the right way, and is zero where it must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.systems.machinery.bearings import BEARINGS
from etude.systems.machinery.losses import (
    FrequencyConsistencyLoss,
    PhysicalConstraintLoss,
    PhysicsInformedLoss,
    SommerfeldConsistencyLoss,
    TemporalSmoothnessLoss,
)
from etude.systems.machinery.simulation import JOURNAL_LINES, JournalSimulation, simulate

RATE, SAMPLES = 4000, 4800
ORDERS = BEARINGS["NICE"].orders
OTHER = BEARINGS["SKF 6205-2RS"].orders
HEALTHY, OUTER, INNER = 0, 1, 2
RACES = {OUTER: ["BPFO"], INNER: ["BPFI"]}


def struck(frequency, seed=0, samples=SAMPLES):
    """Impulses at a frequency, ringing at 1300 Hz, in noise; none for a frequency of 0."""
    time = np.arange(samples) / RATE
    x = 0.3 * np.random.default_rng(seed).normal(size=samples)
    if frequency:
        since = (time + 0.003) % (1 / frequency)
        x += np.exp(-300 * since) * np.sin(2 * np.pi * 1300 * since)
    return x.astype(np.float32)


def races(**changed):
    settings = {"sample_rate": RATE, "speeds": (15.0, 30.0), "bearings": [ORDERS], **changed}
    return FrequencyConsistencyLoss(RACES, **settings)


SIGNALS = jnp.stack(
    [
        struck(0),
        struck(ORDERS.bpfo * 25, 1),
        struck(ORDERS.bpfi * 25, 2),
        struck(ORDERS.bpfo * 20, 3),
    ]
)
SPEED = jnp.array([25.0, 25.0, 25.0, 20.0])
TRUTH = np.array([HEALTHY, OUTER, INNER, OUTER])


def numeric(loss, logits, step=1e-2):
    """The derivative of a scalar by every logit, by central differences."""
    found = np.zeros(logits.shape)
    for at in np.ndindex(logits.shape):
        moved = [loss(logits.at[at].add(sign * step)) for sign in (1, -1)]
        found[at] = (moved[0] - moved[1]) / (2 * step)
    return found


def test_each_window_is_penalised_least_for_its_own_class():
    found = np.asarray(races().penalties(SIGNALS, SPEED, classes=3))
    assert found.shape == (4, 3)
    assert np.array_equal(found.argmin(1), TRUTH)
    assert (found[np.arange(4), TRUTH] < 0.35).all()
    others = np.array(found)
    others[np.arange(4), TRUTH] = 1
    assert (others > 0.5).all()


def test_the_speed_and_the_bearing_of_the_recording_decide():
    x, loss = SIGNALS[1:2], races(bearings=[ORDERS, OTHER])
    own = loss.penalties(x, SPEED[1:2], jnp.array([list(ORDERS)]), classes=3)[0, OUTER]
    assert loss.penalties(x, SPEED[1:2], jnp.array([list(OTHER)]), classes=3)[0, OUTER] > own + 0.5
    assert races().penalties(x, jnp.array([20.0]), classes=3)[0, OUTER] > own + 0.5
    slipped = jnp.array([25.0 * 1.015])
    assert races().penalties(x, slipped, classes=3)[0, OUTER] == pytest.approx(float(own), abs=0.1)


def test_the_raw_spectrum_does_not_show_the_impulses():
    raw = np.asarray(races(spectrum="raw").penalties(SIGNALS, SPEED, classes=3))
    assert raw[1, OUTER] > 0.6
    assert races().penalties(SIGNALS, SPEED, classes=3)[1, OUTER] < 0.35


def test_the_gradient_is_the_numeric_one_and_leads_to_the_right_class():
    loss = jax.jit(lambda logits: races()(logits, SIGNALS, SPEED))
    logits = jax.random.normal(jax.random.key(0), (4, 3))
    gradient = np.asarray(jax.grad(loss)(logits))
    assert np.abs(gradient).max() > 0.01
    np.testing.assert_allclose(gradient, numeric(loss, logits), atol=2e-4)
    for _ in range(200):
        logits = logits - 5 * jax.grad(loss)(logits)
    assert np.array_equal(logits.argmax(1), TRUTH)


def test_no_gradient_where_the_spectrum_prefers_no_class_nor_through_the_signal():
    tones = FrequencyConsistencyLoss(
        {0: [2.0], 1: [3.0]}, RATE, speeds=(25.0, 25.0), spectrum="raw"
    )
    time = np.arange(SAMPLES) / RATE
    both = np.sin(2 * np.pi * 50 * time) + np.sin(2 * np.pi * 75 * time) + 0.01 * struck(0)
    x = jnp.asarray(both[None], jnp.float32)
    gradient = jax.jit(jax.grad(lambda logits: tones(logits, x, SPEED[:1])))
    gradient = gradient(jnp.array([[0.3, -1.0]]))
    assert not gradient.any()
    assert not jax.grad(lambda x: races()(jnp.zeros((1, 3)), x, SPEED[:1]))(x).any()


def test_a_class_of_many_lines_weighs_as_much_as_one_of_few():
    x, speed = jnp.stack([struck(0, seed) for seed in range(20)]), jnp.full(20, 25.0)
    many = FrequencyConsistencyLoss(
        {1: [4.0], 2: [2.0, 3.0, 5.0, 6.0, 7.0, 9.0, 11.0]}, RATE, speeds=(25.0, 25.0)
    )
    one, seven = many.penalties(x, speed, classes=3)[:, 1:].mean(0)
    assert float(one) == pytest.approx(float(seven), abs=0.1)
    assert 0.8 < seven <= 1


def test_bands_in_hertz_are_filled_or_not():
    loss = FrequencyConsistencyLoss(
        {1: [(1200.0, 1400.0)]}, RATE, speeds=(25.0, 25.0), spectrum="raw"
    )
    hiss = struck(0) + 3 * np.sin(2 * np.pi * 1300 * np.arange(SAMPLES) / RATE).astype(np.float32)
    found = np.asarray(
        loss.penalties(jnp.stack([jnp.asarray(hiss), SIGNALS[0]]), SPEED[:2], classes=2)
    )
    np.testing.assert_allclose(found, [[1, 0], [0, 1]], atol=0.15)


def test_what_every_shaft_shows_counts_only_beyond_what_is_usual():
    time = np.arange(SAMPLES) / RATE
    tone = lambda size: size * np.sin(2 * np.pi * 25 * time)  # noqa: E731
    healthy = jnp.asarray([struck(0, i) + tone(0.2 + 0.02 * i) for i in range(10)], jnp.float32)
    loud = jnp.asarray([struck(0, 20) + tone(2.0), struck(0, 21) + tone(0.2)], jnp.float32)
    plain = FrequencyConsistencyLoss({1: [1.0]}, RATE, 0.05, speeds=(20.0, 30.0), spectrum="raw")
    np.testing.assert_allclose(plain.penalties(loud, SPEED[:2], classes=2)[:, 1], 0, atol=0.01)
    fitted = plain.calibrated(healthy, jnp.full(10, 25.0))
    found = jax.jit(lambda x: fitted.penalties(x, SPEED[:2], classes=2))(loud)
    np.testing.assert_allclose(found, [[1, 0], [0, 1]], atol=0.01)
    with pytest.raises(et.DataError, match="not finite"):
        plain.calibrated(healthy, jnp.full(10, 35.0))


def test_simulated_states_show_what_they_are_expected_to():
    records = simulate(JournalSimulation(duration=1.0), 24).records
    loss = FrequencyConsistencyLoss(
        JOURNAL_LINES, 20480, 0.06, speeds=(54.0, 66.0), spectrum="raw", threshold=6.0
    )
    signals, speed = jnp.asarray(records.signals), jnp.asarray(records.metadata["speed"])
    healthy = records.labels == 0
    found = loss.calibrated(signals[healthy], speed[healthy]).penalties(signals, speed, classes=11)
    own = np.array([found[records.labels == k, k].mean() for k in range(11)])
    others = np.array([found[records.labels != k, k].mean() for k in range(11)])
    rare = np.isin(np.arange(11), [5, 10])  # of cavitation, many windows show nothing
    assert (own[~rare] < 0.15).all()
    assert (own[rare] < 0.8).all()
    assert ((others - own)[~rare] > 0.4).all()
    assert (others > own).all()


def test_short_windows_are_refused_with_the_length_that_is_needed():
    needed = int(np.ceil(RATE / (0.02 * ORDERS.bpfo * 15)))
    with pytest.raises(et.ConfigurationError, match=f"expected {needed} samples"):
        races()(jnp.zeros((1, 3)), jnp.zeros((1, needed - 1)), SPEED[:1])
    races().check_length(needed)
    with pytest.raises(et.ConfigurationError, match="bins of"):
        # Under jit as well: the length is known when it is compiled.
        jax.jit(races())(jnp.zeros((1, 3)), jnp.zeros((1, 100)), SPEED[:1])


@pytest.mark.parametrize("speed", [0.0, 14.0, 31.0, float("nan")])
def test_a_speed_that_was_not_checked_makes_the_loss_nan(speed):
    assert np.isnan(races()(jnp.zeros((1, 3)), SIGNALS[:1], jnp.array([speed])))


@pytest.mark.parametrize(
    ("expected", "changed", "said"),
    [
        ({}, {}, "without a single line"),
        ({0: []}, {}, "without a single line"),
        ({1: ["BFPO"]}, {}, "Did you mean 'BPFO'"),
        ({1: ["BPFO"]}, {"bearings": []}, "pass bearings"),
        ({1: [1.0], 2: [1.0]}, {}, "classes 1 and 2 show the same"),
        ({1: [100.0]}, {}, "half the sample rate"),
        ({1: [(1000.0, 2500.0)]}, {}, "2500 Hz"),
        ({1: [(100.0, 100.0)]}, {}, "half the sample rate"),
        ({1: [1.0]}, {"speeds": (30.0, 15.0)}, "slower first"),
        ({1: [1.0]}, {"tolerance": 0.6}, "tolerance=0.6"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split()[0],
)
def test_expectations_that_cannot_be_met_are_refused(expected, changed, said):
    settings = {"sample_rate": RATE, "speeds": (15.0, 30.0), "bearings": [ORDERS], **changed}
    with pytest.raises(et.ConfigurationError, match=said):
        FrequencyConsistencyLoss(expected, **settings)


def test_speed_zero_and_missing_orders_and_too_few_logits_are_refused():
    with pytest.raises(et.DataError, match=r"speed=0\.0"):
        races(speeds=(0.0, 30.0))
    with pytest.raises(et.ConfigurationError, match="Pass orders="):
        races(bearings=[ORDERS, OTHER])(jnp.zeros((1, 3)), SIGNALS[:1], SPEED[:1])
    with pytest.raises(et.ConfigurationError, match="for 2 logits"):
        races()(jnp.zeros((1, 2)), SIGNALS[:1], SPEED[:1])


def test_orders_that_were_not_checked_make_the_loss_nan():
    logits, orders = jnp.zeros((1, 3)), jnp.array([list(OTHER)])
    assert np.isnan(races()(logits, SIGNALS[:1], SPEED[:1], orders))
    assert np.isfinite(races(bearings=[ORDERS, OTHER])(logits, SIGNALS[:1], SPEED[:1], orders))
    tones = FrequencyConsistencyLoss({1: [1.0]}, RATE, 0.05, speeds=(25.0, 25.0))
    with pytest.raises(et.ConfigurationError, match="Leave them out"):
        tones(logits, SIGNALS[:1], SPEED[:1], orders)


def test_the_film_speaks_against_faults_of_the_other_end_only():
    loss = SommerfeldConsistencyLoss([1, 2, 3])
    found = np.asarray(loss.penalties(jnp.array([0.01, 0.1, 10**-0.5, 1.0, 50.0]), classes=5))
    assert not found[:, [0, 4]].any()  # healthy, and what the order does not name
    np.testing.assert_allclose(found[:, 1], [0, 0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(found[:, 3], [1, 1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-6)


def test_the_gradient_of_the_film_is_numeric_and_zero_in_the_middle():
    loss = jax.jit(SommerfeldConsistencyLoss([1, 2]))
    logits = jax.random.normal(jax.random.key(1), (2, 3))
    s = jnp.array([0.05, 0.6])
    gradient = np.asarray(jax.grad(loss)(logits, s))
    np.testing.assert_allclose(gradient, numeric(lambda x: loss(x, s), logits), atol=2e-4)
    assert gradient[0, 2] > 0.01 > -0.01 > gradient[0, 0]  # whirl falls, healthy rises
    middle = jnp.full(2, 10**-0.5)
    np.testing.assert_allclose(jax.grad(loss)(logits, middle), 0, atol=1e-6)
    assert np.isnan(loss(logits, jnp.array([0.0, 1.0])))


def test_no_simulated_recording_is_in_a_condition_that_speaks_against_it():
    drawn = [JournalSimulation(duration=0.05).draw(index) for index in range(220)]
    film = jnp.array([one.known["sommerfeld"] for one in drawn])
    found = np.asarray(SommerfeldConsistencyLoss().penalties(film, classes=11))
    assert found.max() > 0.5
    assert not found[np.arange(220), [one.label for one in drawn]].any()


def test_film_orders_that_say_nothing_are_refused():
    for order in ([1], [1, 1]):
        with pytest.raises(et.ConfigurationError, match="two or more different"):
            SommerfeldConsistencyLoss(order)
    with pytest.raises(et.ConfigurationError, match="for 3 logits"):
        SommerfeldConsistencyLoss()(jnp.zeros((1, 3)), jnp.ones(1))


def test_smoothness_pairs_neighbours_wherever_they_are_in_the_batch():
    logits = jax.random.normal(jax.random.key(2), (6, 3))
    record, window = np.array([0, 1, 0, 0, 1, 2]), np.array([7, 3, 6, 9, 4, 5])
    p = np.asarray(jax.nn.softmax(logits))
    pairs = [(2, 0), (1, 4)]
    expected = 0.1 * np.mean([((p[a] - p[b]) ** 2).sum() for a, b in pairs])
    loss = jax.jit(
        lambda logits: TemporalSmoothnessLoss()(logits, jnp.array(record), jnp.array(window))
    )
    assert loss(logits) == pytest.approx(expected, rel=1e-5)
    gradient = np.asarray(jax.grad(loss)(logits))
    np.testing.assert_allclose(gradient, numeric(loss, logits), atol=2e-4)
    assert not gradient[[3, 5]].any()  # windows without a neighbour
    assert gradient[0].any()


def test_smoothness_of_windows_without_neighbours_or_without_change_is_zero():
    loss = jax.jit(TemporalSmoothnessLoss())
    apart = jnp.array([0, 1, 2])
    assert loss(jnp.eye(3), apart, jnp.array([0, 1, 2])) == 0
    same = jax.jit(jax.grad(lambda x: loss(x, 0 * apart, apart)))(jnp.ones((3, 2)))
    assert not same.any()


def test_smoothness_of_a_window_that_is_there_twice_is_refused():
    """Three windows 0 and three windows 1 have nine pairs, of which only six were looked at."""
    loss, logits = TemporalSmoothnessLoss(), jnp.ones((6, 2))
    record, window = jnp.zeros(6, int), jnp.arange(6) % 2
    with pytest.raises(et.DataError, match="a window of a recording twice"):
        loss(logits, record, window)
    assert np.isnan(jax.jit(loss)(logits, record, window))
    assert jax.jit(loss)(logits, jnp.arange(6) // 2, window) == 0


def test_the_film_has_one_number_for_each_recording():
    loss = SommerfeldConsistencyLoss([1, 2])
    for shape in ((1,), (4, 1), ()):
        with pytest.raises(et.DataError, match=r"for 4 rows of logits, expected \(4,\)"):
            loss(jnp.zeros((4, 3)), jnp.ones(shape))


def test_the_constraint_adds_its_terms_by_their_weights():
    frequency, film = races(), SommerfeldConsistencyLoss([1, 2])
    smooth = TemporalSmoothnessLoss(1.0)
    loss = PhysicalConstraintLoss(
        lambda_freq=2.0, frequency=frequency, sommerfeld=film, temporal=smooth
    )
    logits = jax.random.normal(jax.random.key(3), (4, 3))
    numbers = jnp.arange(4)
    film_number = jnp.array([0.01, 0.2, 1.0, 4.0])
    metadata = {
        "speed": SPEED,
        "sommerfeld": film_number,
        "record": 0 * numbers,
        "window": numbers,
    }
    total, terms = loss(logits, SIGNALS, metadata)
    assert terms["freq"] == frequency(logits, SIGNALS, SPEED)
    assert terms["sommerfeld"] == film(logits, film_number)
    assert terms["temporal"] == smooth(logits, 0 * numbers, numbers)
    parts = 2.0 * terms["freq"] + 0.5 * terms["sommerfeld"] + 0.1 * terms["temporal"]
    assert total == pytest.approx(float(parts), rel=1e-6)
    with pytest.raises(et.ConfigurationError, match="needs 'speed'"):
        loss(logits, SIGNALS, {"sped": SPEED})


def test_weights_without_terms_and_terms_without_weights_are_refused():
    with pytest.raises(et.ConfigurationError, match=r"lambda_freq=1\.0 weighs no term"):
        PhysicalConstraintLoss()
    film = SommerfeldConsistencyLoss([1, 2])
    nothing = {"lambda_freq": 0.0, "lambda_temporal": 0.0}
    with pytest.raises(et.ConfigurationError, match="lambda_sommerfeld=0"):
        PhysicalConstraintLoss(**nothing, lambda_sommerfeld=0.0, sommerfeld=film)
    with pytest.raises(et.ConfigurationError, match="there is no term"):
        PhysicalConstraintLoss(**nothing, lambda_sommerfeld=0.0)
    with pytest.raises(et.ConfigurationError, match="data_weight=0"):
        PhysicsInformedLoss(0.0, 0.0)


def test_the_weight_of_physics_moves_the_weights_of_a_model():
    # In the seed's original it moved nothing: the term had no gradient.
    physics = races()
    features = jax.random.normal(jax.random.key(4), (4, 5))

    def loss(w, weight):
        logits = features @ w
        term = physics(logits, SIGNALS, SPEED)
        return PhysicsInformedLoss(1.0, weight)(logits, jnp.array(TRUTH), physics=term)

    w = jax.random.normal(jax.random.key(5), (5, 3))
    without, with_physics = (jax.grad(loss)(w, weight) for weight in (0.0, 1.0))
    assert float(jnp.abs(with_physics - without).max()) > 0.01
