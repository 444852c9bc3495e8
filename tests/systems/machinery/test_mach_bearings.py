"""Characteristic frequencies against published tables, and what no bearing has is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.systems.machinery.bearings import BEARINGS, Geometry, Orders, bearing, with_slip
from etude.systems.machinery.journal import (
    FLOW,
    LUBRICATION,
    JournalBearing,
    lubrication_regime,
)


def test_geometry_of_6205_gives_the_published_orders():
    published = BEARINGS["SKF 6205-2RS"].orders
    computed = Geometry(rollers=9, roller_diameter=0.3126, pitch_diameter=1.537).orders
    assert list(computed) == pytest.approx(list(published), rel=1e-3)


def test_an_angle_moves_both_passes_apart_from_those_of_a_radial_bearing():
    # Rexnord ZA-2115: 16 rollers, .331 in, 2.815 in, 15.17 degrees; 33.3 Hz (IMS data).
    orders = Geometry(16, 0.331, 2.815, 15.17).orders
    assert orders.frequencies(2000 / 60).bpfo == pytest.approx(236.4, abs=0.1)
    assert orders.frequencies(2000 / 60).bpfi == pytest.approx(296.9, abs=0.1)
    assert orders.frequencies(2000 / 60).bsf == pytest.approx(139.9, abs=0.2)


def test_nice_of_mfpt_has_the_passes_of_its_files_but_not_their_ftf():
    found = BEARINGS["NICE"].orders.frequencies(25.0)
    assert found.bpfo == pytest.approx(81.125, rel=1e-4)
    assert found.bpfi == pytest.approx(118.875, rel=1e-4)
    assert found.bsf == pytest.approx(63.91, rel=1e-3)
    assert found.ftf == pytest.approx(25 - 14.8375, rel=5e-3)
    with pytest.raises(et.DataError, match="relative to the inner race"):
        Orders(14.8375 / 25, 81.125 / 25, 118.875 / 25, 63.91 / 25)


def test_frequencies_follow_an_array_of_speeds_under_jit():
    orders = BEARINGS["6203"].orders
    speeds = jnp.array([15.0, 25.0])
    found = jax.jit(lambda s: orders.frequencies(s).bpfi)(speeds)
    np.testing.assert_allclose(found, orders.bpfi * np.array([15.0, 25.0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        ((0.4, 81.1, 118.9, 64.0), "Are they in Hz"),
        ((0.4, 4.755, 3.245, 2.5), "exchanged"),
        ((0.4, 3.245, 4.755, float("nan")), "bsf=nan"),
        ((0.4, -3.245, 4.755, 2.5), "bpfo=-3.245"),
    ],
    ids=["hz", "exchanged", "nan", "negative"],
)
def test_orders_of_no_bearing_are_refused(orders, said):
    with pytest.raises(et.DataError, match=said):
        Orders(*orders)


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        ((2, 7.94, 39.04), "rollers=2"),
        ((9, 39.04, 7.94), "overlap"),
        ((9, 7.94, 19.52), "radii"),
        ((9, 7.94, 39.04, 90.0), "contact_angle=90"),
        ((9, 0.0, 39.04), "roller_diameter=0.0"),
    ],
)
def test_geometry_of_no_bearing_is_refused(geometry, said):
    with pytest.raises(et.DataError, match=said):
        Geometry(*geometry)


def test_unknown_bearing_and_impossible_slip_and_standing_shaft():
    with pytest.raises(et.DataError, match="Did you mean 'SKF 6205-2RS'"):
        bearing("SKF 6205")
    with pytest.raises(et.DataError, match=r"slip=2.*0\.02"):
        with_slip(100.0, slip=2)
    with pytest.raises(et.DataError, match="speed=0"):
        bearing("6203").orders.frequencies(np.array([25.0, 0.0]))


JOURNAL = JournalBearing(radius=0.015, clearance=20e-6, length=0.015)


def test_sommerfeld_falls_with_the_load_and_regimes_follow():
    loads = np.array([100.0, 1000.0, 10000.0])
    s = JOURNAL.sommerfeld(0.03, 60.0, loads)
    np.testing.assert_allclose(s * loads, 0.03 * 60 * 2 * 0.015**2 * 750**2, rtol=1e-12)
    assert [LUBRICATION[i] for i in lubrication_regime(s)] == ["hydrodynamic", "mixed", "boundary"]
    on_device = jax.jit(lambda load: lubrication_regime(JOURNAL.sommerfeld(0.03, 60.0, load)))
    assert on_device(jnp.asarray(loads, jnp.float32)).tolist() == [2, 1, 0]


def test_flow_passes_through_vortices():
    # 41.2 sqrt(750) = 1128
    assert [FLOW[JOURNAL.flow_regime(re)] for re in (1100.0, 1200.0, 2100.0)] == list(FLOW)
    wide = JournalBearing(radius=0.05, clearance=10e-6, length=0.05)  # vortices only above 2913
    assert [FLOW[wide.flow_regime(re)] for re in (2500.0, 3000.0)] == ["laminar", "turbulent"]


def test_journal_quantities_are_refused_by_name():
    with pytest.raises(et.DataError, match="load=0"):
        JOURNAL.sommerfeld(0.03, 60.0, 0.0)
    with pytest.raises(et.DataError, match="viscosity=nan"):
        JOURNAL.reynolds(float("nan"), 60.0)
    with pytest.raises(et.DataError, match="in m"):
        JournalBearing(radius=15.0, clearance=20.0, length=15.0)
