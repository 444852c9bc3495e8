# optax is annotated, but does not say so (it has no py.typed): its own types, handed on.
from optax import (
    assignment as assignment,
    contrib as contrib,
    losses as losses,
    schedules as schedules,
    tree as tree,
)
from optax._src.alias import *
from optax._src.base import *
from optax._src.linear_algebra import *
from optax._src.numerics import *
from optax._src.update import *
from optax.losses import *
from optax.schedules import *
from optax.transforms import *
