"""A mesh: the devices of one training, arranged along named axes.

>>> mesh(data=2).shape["data"]
2
"""

from math import prod
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, PartitionSpec

from etude.engine.numbers import is_count
from etude.errors import ConfigurationError

#: The axes that the samples of a batch and the members of a population are spread over.
DATA, MEMBERS = "data", "members"


def mesh(**axes: int) -> Mesh:
    """The first visible devices, arranged along named axes.

    The samples of a batch are spread over the axis `data`, the members of a population over the
    axis `members`; what others are for is said by the `sharding` of a trainer. The axes are `Auto`:
    the compiler decides how intermediate values are spread, so that a model needs no annotations.

    Args:
        axes: the size of each axis, as in `mesh(data=4, model=2)`.

    Raises:
        ConfigurationError: no axes, sizes that are no positive integers, more devices than there
            are.

    >>> import etude as et
    >>> et.mesh(data=2, model=1).axis_names
    ('data', 'model')
    """
    if not axes:
        raise ConfigurationError("A mesh has at least one axis; got none. Pass mesh(data=4).")
    for name, size in axes.items():
        if not is_count(size):
            raise ConfigurationError(
                f"The axis {name!r} of a mesh has a positive number of devices; got {size!r}."
            )
    axes = {name: int(size) for name, size in axes.items()}
    devices, needed = jax.devices(), prod(axes.values())
    if needed > len(devices):
        said = ", ".join(f"{name}={size}" for name, size in axes.items())
        raise ConfigurationError(
            f"mesh({said}) needs more devices than there are: got {len(devices)} "
            f"({devices[0].platform}), expected {needed}. Make it smaller; to try it on a CPU, set "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={needed} before Python starts."
        )
    kinds = (AxisType.Auto,) * len(axes)
    return jax.make_mesh(
        tuple(axes.values()), tuple(axes), axis_types=kinds, devices=devices[:needed]
    )


def check_mesh(mesh: object) -> Mesh:
    """`mesh`, as a trainer takes it.

    Raises:
        ConfigurationError: no mesh, or one whose axes are not `Auto`.
    """
    if not isinstance(mesh, Mesh):
        raise ConfigurationError(
            f"mesh is a jax.sharding.Mesh; got {type(mesh).__name__}. Pass et.mesh(data=4)."
        )
    others = [
        f"{name!r} is {kind}"
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if kind is not AxisType.Auto
    ]
    if others:
        raise ConfigurationError(
            f"The axes of a mesh must be Auto, or any model without annotations fails; got "
            f"{', '.join(others)}. Make it by et.mesh(...), or pass axis_types=(AxisType.Auto,) * "
            f"{len(mesh.axis_names)}."
        )
    return mesh


def whole(index: Any) -> Any:
    """The places of samples, traced, computed whole on every device of the mesh in use, if any.

    Otherwise the compiler spreads their computation as it spreads the batch, and where it is a
    loop, the devices must agree at each turn whether all are done.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return index
    # JAX says no types of its arguments.
    return jax.lax.with_sharding_constraint(  # pyright: ignore[reportUnknownMemberType]
        index, PartitionSpec()
    )


def said(mesh: Mesh) -> str:
    """The axes with their sizes.

    >>> said(mesh(data=2))
    'data=2'
    """
    return ", ".join(f"{name}={size}" for name, size in mesh.shape.items())
