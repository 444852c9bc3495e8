"""Operations of torch as functions of arrays of JAX, by the names that an exported graph has.

Values and gradients are those of torch, at kinks and ties too. Types are promoted as there: arrays
with axes decide; a single number counts only where its kind (integer, real, complex) is higher.

>>> import jax.numpy as jnp
>>> from etude.adapters.aten import OPERATIONS
>>> OPERATIONS["aten.add.Tensor"](jnp.arange(2), 0.5, alpha=2)
Array([1., 2.], dtype=float32)
"""

from etude.adapters.aten.elements import ELEMENTS
from etude.adapters.aten.layers import LAYERS
from etude.adapters.aten.making import LIKE, MADE, RANDOM_LIKE, RANDOM_MADE
from etude.adapters.aten.places import PLACES
from etude.adapters.aten.recurrent import RECURRENT
from etude.adapters.aten.reductions import REDUCTIONS
from etude.adapters.aten.shapes import SHAPES
from etude.adapters.aten.types import named

#: What makes arrays with no other to take the type from; it is told the type that the graph has.
NEW = named(MADE | RANDOM_MADE)
#: What may draw random numbers; a key comes first, None if there is none.
RANDOM = named(RANDOM_MADE | RANDOM_LIKE) | RECURRENT
#: All others.
OPERATIONS = named(ELEMENTS | REDUCTIONS | SHAPES | PLACES | LAYERS | MADE | LIKE)
