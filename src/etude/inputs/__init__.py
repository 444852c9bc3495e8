"""What labels, scores, masks and weights may be: one rule for all losses, metrics and mixtures.

Labels are class numbers `(batch,)`, integers of any width or booleans for two classes; or class
probabilities `(batch, classes)`, which one-hot rows are, too. Scores `(batch, classes)` are real
numbers. A trailing axis of one is dropped, so `(batch, 1)` is `(batch,)`. Everything else is
refused by name. Under `jit`, where values cannot be seen, shapes and dtypes are refused as ever,
and a value that would have been makes the result NaN. NaN in gives NaN out. All is computed in
float32, or in float64 where that comes in.

>>> import jax.numpy as jnp
>>> pairs = class_pairs("accuracy", jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1]))
>>> pairs.predicted.tolist(), pairs.actual.tolist()
([1, 0], [1, 1])
"""

from etude.inputs.arrays import (
    Values as Values,
    as_floats as as_floats,
    check_lengths as check_lengths,
    check_same_shape as check_same_shape,
    concrete as concrete,
    floating as floating,
    real_floats as real_floats,
    widest_float as widest_float,
)
from etude.inputs.labels import (
    class_numbers as class_numbers,
    is_class as is_class,
    one_hot as one_hot,
    soft_labels as soft_labels,
)
from etude.inputs.pairs import (
    Pairs as Pairs,
    Scored as Scored,
    class_pairs as class_pairs,
    probability_pairs as probability_pairs,
    score_pairs as score_pairs,
)
from etude.inputs.scores import (
    UNDEFINED as UNDEFINED,
    embeddings_of as embeddings_of,
    logits_of as logits_of,
)
from etude.inputs.settings import (
    check_count as check_count,
    check_flags as check_flags,
    check_real as check_real,
    class_vector as class_vector,
    not_negative as not_negative,
    one_of as one_of,
)
