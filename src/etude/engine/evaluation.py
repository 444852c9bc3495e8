"""Evaluation: every sample counted exactly once, in inference mode, changing nothing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from etude.engine.compiled import ByKind, Compiled, kind_of
from etude.engine.explaining import explained
from etude.engine.hyper import numbers
from etude.engine.layout import Layout
from etude.engine.leaf_roles import inference, is_array
from etude.engine.learner import Learner
from etude.engine.metric import Metric, checked_metrics, checked_weight
from etude.engine.phase import Measure
from etude.engine.place import Place
from etude.engine.precision import widened
from etude.engine.randomness import root_key
from etude.engine.rule import Context, Gradient, read_loss
from etude.engine.source import Source
from etude.engine.surroundings import Surroundings, setting
from etude.errors import ConfigurationError
from etude.kinds import is_a, is_mapping


def default_measure(learner: Learner) -> Measure:
    """The loss of a learner and its metrics, as a measure."""
    rule = learner.rule
    if not isinstance(rule, Gradient):
        raise ConfigurationError(
            f"The rule of {learner.called} has no loss to validate with. Pass "
            "Validation(data, measure=...), a function (model, batch, context) -> metrics."
        )

    def measure(model: Any, batch: PyTree, context: Context) -> Mapping[str, Any]:
        value, metrics, _ = read_loss(rule.loss(model, batch, context), model)
        found = checked_metrics("What the loss returns", {"loss": value, **metrics})
        if rule.weight is None:
            return found
        weight = checked_weight(f"The weight of {learner.called}", rule.weight(batch))
        assert weight is not None
        return {
            name: value if isinstance(value, Metric) else _Weighted.of(value, weight)
            for name, value in found.items()
        }

    return measure


class _Weighted(eqx.Module):
    """The mean of a scalar over batches that count differently."""

    total: Array
    weight: Array

    @classmethod
    def of(cls, value: Array, weight: Array) -> "_Weighted":
        # A mean over nothing is NaN, and counts for nothing.
        value = jnp.where(weight == 0, 0.0, widened(value))
        return cls(value * weight, weight)

    def merge(self, other: "_Weighted") -> "_Weighted":
        return _Weighted(self.total + other.total, self.weight + other.weight)

    def compute(self) -> Array:
        return self.total / self.weight


class Evaluator:
    """A measure over a source, compiled once per shape of batch.

    Scalars are means over a batch and are averaged with the batch sizes as weights; objects with
    `merge` and `compute` are merged. The short last batch is measured at its true size.
    """

    def __init__(
        self,
        measure: Measure,
        static: PyTree,
        kept: Compiled,
        name: str = "an evaluation",
        layout: Layout | None = None,
    ):
        def run(arrays: PyTree, batch: PyTree, place: Context, index: Any) -> dict[str, Any]:
            context = replace(place, key=jax.random.fold_in(place.key, index))
            model = inference(eqx.combine(arrays, static))
            with explained(name, batch, context.hyper):
                found = measure(model, batch, context)
            if isinstance(found, tuple) or is_array(found):  # a loss serves as a measure as it is
                value, metrics, _ = read_loss(found, model)
                found = {"loss": value, **metrics}
            results = checked_metrics("What a measure returns", found)
            return results if layout is None else layout.whole(results)

        self._run, self._layout = ByKind(run, kept), layout
        self._made_of = measure, static, kept, name, layout
        self._merge = jax.jit(_merge)

    def __call__(
        self,
        arrays: PyTree,
        source: Source,
        key: Key[Array, ""],
        *,
        step: int = 0,
        progress: float = 0.0,
        hyper: PyTree = None,
        poll: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """The metrics of a model on all samples. `poll` is called between batches."""
        place, here = None, None
        results: list[dict[str, Any]] = []
        sizes: list[int] = []
        context = Context(
            key,
            np.asarray(step, np.int32),
            np.asarray(progress, np.float32),
            numbers({} if hyper is None else hyper),
        )
        layout = self._layout
        samples = source.sequential() if layout is None else layout.batches.sequence(source)
        for index, (batch, size) in enumerate(samples):
            poll()
            if place is None:
                place = self._layout.place if self._layout else Place.of(arrays, batch)
                arrays, context = place.put(arrays), place.put_arrays(context)
                compiled = place.alone and not setting("disable_jit")
                here = (place, Surroundings.here()) if compiled else None
            batch = self._layout.batches.put(batch) if self._layout else place.put(batch)
            kind = None if here is None else (here, kind_of(batch))
            # Numbers of the host go along with the call: to put them takes longer than the call.
            with jax.transfer_guard_host_to_device("allow"):
                results.append(self._run(kind, arrays, batch, context, np.uint32(index)))
            place.settle(results[-1])
            sizes.append(size)
        if not results:
            raise ConfigurationError("The validation data are empty. Give them at least a sample.")
        counts = np.asarray(sizes, np.float64)
        found: dict[str, Any] = {}
        fetched = _fetched(results)  # all at once: every fetch waits
        for name in results[0]:
            found |= self._total(name, [result[name] for result in fetched], counts)
        return found

    def anew(self) -> "Evaluator":
        """The same, which traces its measure again: what the measure reads may have changed."""
        return Evaluator(*self._made_of)

    def names(self, arrays: PyTree, source: Source, hyper: PyTree = None) -> frozenset[str]:
        """The names of the metrics, found by tracing the measure on the first batch."""
        shapes = self.measured.eval_shape(*self.example(arrays, source, hyper))
        merged = {name for name, value in shapes.items() if isinstance(value, Metric)}
        return frozenset(shapes) | {f"{name}/*" for name in merged}

    def text(self, arrays: PyTree, source: Source, hyper: PyTree = None) -> str:
        """The program of the measure on the first batch, before it is compiled."""
        return self.measured.lower(*self.example(arrays, source, hyper)).as_text()

    @property
    def measured(self) -> Any:
        """The measure of one batch as a jitted function of what `example` gives."""
        return self._run.jitted

    def example(self, arrays: PyTree, source: Source, hyper: PyTree = None) -> tuple[Any, ...]:
        """The arrays, the first batch, a context and the number of the batch."""
        batch, _ = next(iter(source.sequential()))
        return arrays, batch, Context.at(root_key(0), hyper=hyper), np.uint32(0)

    def _total(self, name: str, values: list[Any], counts: np.ndarray) -> dict[str, Any]:
        if not isinstance(values[0], Metric):
            # Divided last, so that the mean of equal values is that value to the bit.
            sums = np.dot(counts, np.asarray(values, np.float64))
            return {name: float(sums / counts.sum())}
        # Once in a validation, and in the words of whoever wrote the metric: not to be forbidden
        # by a guard against transfers, which is meant for what happens at every step.
        with jax.transfer_guard("allow"):
            total = jax.device_get(self._merged(values).compute())
        if is_mapping(total):
            return {f"{name}/{part}": _plain(value) for part, value in total.items()}
        return {name: _plain(total)}

    def _merged(self, values: list[Any]) -> Any:
        if len(values) == 1:
            return values[0]
        # A metric that keeps its samples grows with each merge: compiled, it would be so anew
        # for every batch.
        if _layout(jax.eval_shape(_merge, *values[:2])) == _layout(values[0]):
            return reduce(self._merge, values)
        return reduce(_merge, values)


def _fetched(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results with all scalars on the host; metric objects stay where they are."""
    scalars = [
        {name: value for name, value in result.items() if not isinstance(value, Metric)}
        for result in results
    ]
    pairs = zip(results, jax.device_get(scalars), strict=True)
    return [result | on_host for result, on_host in pairs]


def _merge(metric: Any, other: Any) -> Any:
    return metric.merge(other)


def _layout(tree: PyTree) -> tuple[Any, list[Any]]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _plain(value: Any) -> float | list[Any]:
    return float(value) if np.ndim(value) == 0 else np.asarray(value).tolist()


def evaluate(
    model: PyTree,
    source: Source,
    measure: Measure,
    *,
    key: Key[Array, ""] | None = None,
    hyper: PyTree = None,
) -> dict[str, Any]:
    """Measures a model on a source, in inference mode; the model is unchanged.

    `key` and `hyper` are those of the context that the measure gets.

    >>> import jax.numpy as jnp
    >>> import etude as et
    >>> data = et.ArrayData(jnp.arange(5.0), batch_size=2)
    >>> evaluate(jnp.array(1.0), data, lambda model, batch, context: {"mean": batch.mean() * model})
    {'mean': 2.0}
    """
    return Evaluation(measure)(model, source, key=key, hyper=hyper)


class Evaluation:
    """`evaluate` with one measure for many models, of which those that differ in numbers alone
    share a compiled program.

    The measure is traced at every call, and compiled where it is another program than before.

    >>> import jax.numpy as jnp
    >>> import etude as et
    >>> scaled = et.Evaluation(lambda model, batch, context: {"mean": batch.mean() * model})
    >>> data = et.ArrayData(jnp.arange(5.0), batch_size=2)
    >>> scaled(jnp.array(1.0), data), scaled(jnp.array(3.0), data)  # the second compiles nothing
    ({'mean': 2.0}, {'mean': 6.0})
    """

    def __init__(self, measure: Measure):
        self.measure = measure
        self._compiled = Compiled()

    def __call__(
        self,
        model: PyTree,
        source: Source,
        *,
        key: Key[Array, ""] | None = None,
        hyper: PyTree = None,
    ) -> dict[str, Any]:
        """The metrics of a model on all samples of a source.

        Raises:
            ConfigurationError: no source, or one without samples.
        """
        if not is_a(source, Source):
            raise ConfigurationError(
                f"evaluate needs a source; got {type(source).__name__}. Wrap arrays in "
                "ArrayData(arrays, batch_size=...), other data in AccessData or StreamData."
            )
        arrays, static = eqx.partition(model, is_array)
        evaluator = Evaluator(self.measure, static, self._compiled)
        key = root_key(0) if key is None else key
        return evaluator(arrays, source, key, hyper=hyper)
