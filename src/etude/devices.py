"""The devices that the trainings of an experiment are spread over."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
from jaxtyping import PyTree

from etude.engine.mesh import DATA, MEMBERS, mesh
from etude.engine.numbers import is_count
from etude.engine.place import gathered
from etude.engine.processes import processes
from etude.errors import ConfigurationError


def options_for(devices: int | None, *, population: bool = False) -> dict[str, Any]:
    """What a trainer takes for so many devices; None: one, as without a mesh.

    The samples of a batch are spread over them, or the members of a population. Raises
    `ConfigurationError` if there are not so many.

    >>> options_for(None), options_for(2)["mesh"].shape["data"]
    ({}, 2)
    >>> options_for(2, population=True)["mesh"].shape["members"]
    2
    """
    axis = MEMBERS if population else DATA
    return {} if devices is None else {"mesh": mesh(**{axis: devices})}


def recorded(config: Mapping[str, Any]) -> int | None:
    """The devices that the configuration of a run names; None if it names none.

    Raises `ConfigurationError` for what is no number of devices: it was edited by hand.

    >>> recorded({"devices": 4}), recorded({})
    (4, None)
    """
    devices = config.get("devices")
    if not (devices is None or is_count(devices)):
        raise ConfigurationError(
            f"The configuration of the run names the devices that it was trained on: got "
            f"{devices!r}, expected a whole number from 1, or nothing for one device."
        )
    return devices


def counted(devices: int | Literal["all"] | None) -> int | None:
    """How many devices are asked for.

    >>> counted("all") == jax.device_count(), counted(4)
    (True, 4)
    """
    return jax.device_count() if devices == "all" else devices


def chosen(devices: int | None, before: int | None) -> int | None:
    """How many devices take part: as many as asked for, or as before; of several processes all.

    Raises `ConfigurationError` if several processes are asked for fewer than all, or if there are
    fewer than before and nothing is asked for.

    >>> chosen(2, 4), chosen(None, 1)
    (2, 1)
    """
    if processes().alone and devices is not None:
        return devices
    every = jax.device_count()
    if processes().alone:
        if before is not None and before > every:
            raise ConfigurationError(
                f"The run was trained on {before} devices, and here are {every}. Go on with those "
                "that are here: --devices all."
            )
        return before
    if devices not in (None, every):
        raise ConfigurationError(
            f"{processes().count} processes train on all of their {every} devices; got --devices "
            f"{devices}. Leave --devices out."
        )
    return every


def on_one(model: PyTree) -> PyTree:
    """A model that was trained on several devices, on one of them.

    What is done with a trained model is not spread over a mesh: each device would do all of it.
    """

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or len(leaf.devices()) == 1:
            return leaf
        if not leaf.is_fully_addressable:
            return gathered(leaf).addressable_data(0)
        return jax.device_put(leaf, min(leaf.devices(), key=lambda device: device.id))

    return jax.tree.map(one, model)
