"""Members over the devices of a mesh are trained as on one device; here over two (fake) ones."""

import re

import jax
import numpy as np
import pytest
from crowd import RATES, close, equal, init, phase, trainer
from test_endings import BREAKING, VARY, stopping
from test_resuming_population import Breaking

import etude as et

#: Two on the first device, the third, which will be at fault, alone on the second.
TWO = et.mesh(members=2)


class Copying(et.Callback):
    """Lets a member of the first device go on as a copy of that of the second, once."""

    def with_members(self):
        return "all"

    def on_validation_end(self, event, metrics):
        if (event.phase, event.step) != ("fit", 5):
            return None
        return et.Exchange(source=2, member=1, factors={"rate": 0.5})


def phases():
    first = phase(BREAKING, keep=et.Best("valid/error", "min"))
    return [first, phase(name="on", steps=8)]


def made(folder, *more, team=1, **options):
    callbacks = [stopping(), Copying(), et.ModelCheckpoint(every=et.Steps(4)), *more]
    return trainer(phases(), VARY, team, run=folder, callbacks=callbacks, **options)


def devices(model):
    (found,) = {device.id for leaf in jax.tree.leaves(model) for device in leaf.devices()}
    return found


def told(history, *but):
    """Its records, without what says where members were and when it went on."""
    return [
        {name: value for name, value in record.items() if name != "devices"}
        for record in history
        if record.get("event") not in but
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return made(tmp_path_factory.mktemp("one") / "run").fit()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return made(tmp_path_factory.mktemp("two") / "run", mesh=TWO).fit()


def test_the_bits_of_one_device(one, two):
    """With an exchange between devices, a fault, patience, best weights and a second phase."""
    assert [devices(model) for model in two.model] == [0, 0, 1]
    equal(two.model, one.model)
    assert told(two.history) == told(one.history)
    for name in one.history.names:
        np.testing.assert_array_equal(two.history[name].value, one.history[name].value)
    assert two.members == one.members
    assert [m.reason.name for m in two.members] == ["LENGTH", "LENGTH", "FAULT"]
    kinds = [record["event"] for record in two.history.events]
    assert kinds.count("exchange") == 1
    begun = two.history.events[0]
    assert (begun["teams"], begun["devices"]) == ([1, 1, 1], [0, 0, 1])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(TWO, TWO, id="two-two", marks=pytest.mark.slow),
        pytest.param(TWO, None, id="two-one"),
        pytest.param(None, TWO, id="one-two", marks=pytest.mark.slow),
    ],
)
def test_goes_on_to_the_same_bits_on_other_devices(one, tmp_path, before, after):
    with pytest.raises(RuntimeError, match="plug"):
        made(tmp_path / "run", Breaking(13), mesh=before).fit()
    result = made(tmp_path / "run", mesh=after).resume()
    equal(result.model, one.model)
    assert result.members == one.members
    events = [record for record in result.history.events if record["event"] == "resume"]
    assert told(result.history, "resume") == told(one.history)
    if before is after:
        assert not events
    else:
        (event,) = events
        assert "members=2" in event["changes"]["devices.mesh"]
        assert "rounding" in event["bits"]


def test_a_team_is_divided_where_it_goes_on_over_devices(tmp_path):
    """To rounding, as teams of another size are; a finished run loads all the same."""
    vary = {"rate": RATES, "seed": range(3)}
    whole = trainer(phase(), vary, 3).fit()
    cut = [et.ModelCheckpoint(every=et.Steps(4)), Breaking(7)]
    with pytest.raises(RuntimeError, match="plug"):
        trainer(phase(), vary, 3, run=tmp_path / "run", callbacks=cut).fit()
    over = trainer(phase(), vary, 3, run=tmp_path / "run", mesh=TWO)
    result = over.resume()
    (event,) = [one for one in result.history.events if one["event"] == "resume"]
    assert event["global_step"] == 4
    assert [devices(model) for model in result.model] == [0, 0, 1]
    for number in range(3):
        close(result.member(number), whole.member(number))
    equal(over.load(), result.model)
    equal(trainer(phase(), vary, 3, run=tmp_path / "run").load(), result.model)
    single = trainer(phase(steps=24), vary, 3, run=tmp_path / "run").resume()
    assert single.members[0].step == 24


def test_what_is_not_spread_over_members_is_refused():
    def refused(words, **options):
        with pytest.raises(et.ConfigurationError, match=re.escape(words)):
            trainer(phase(), {"rate": RATES[: options.pop("members", 3)]}, **options)

    refused("got a mesh of data=2. Pass mesh=et.mesh(members=2)", mesh=et.mesh(data=2))
    refused("got a mesh of members=1, data=2", mesh=et.mesh(members=1, data=2))
    refused("Leave sharding out", mesh=TWO, sharding=et.Sharded())
    refused("Leave sharding out", sharding=et.Sharded())
    refused("A population of 1 cannot be spread over 2 devices", mesh=TWO, members=1)
    with pytest.raises(et.ConfigurationError, match=r"this is one model; got a mesh of members=2"):
        et.Trainer(np.zeros(3), phase(hyper={"rate": 0.1}), mesh=TWO, progress=False)


@pytest.mark.slow
def test_a_team_is_where_init_puts_its_first_member():
    def scattered(key):
        return jax.device_put(init(key), jax.devices()[int(jax.random.key_data(key)[-1]) % 2])

    vary = {"rate": RATES, "seed": range(1, 4)}
    result = trainer(phase(), vary, 3, scattered).fit()
    assert [devices(model) for model in result.model] == [1, 1, 1]
    whole = trainer(phase(), vary, 3).fit()
    over = trainer(phase(), vary, 1, scattered, mesh=TWO).fit()
    assert [devices(model) for model in over.model] == [0, 0, 1]
    for number in range(3):
        close(result.member(number), whole.member(number))
        close(over.member(number), whole.member(number))
