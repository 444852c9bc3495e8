"""The two sides of a Born machine. They hold the machine itself: there is nothing to copy."""

import equinox as eqx
from jaxtyping import Array, Float, Int, Integer, Key, Real

from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.sampling import sample


class Classifier(eqx.Module):
    """p(c | x) of a machine; see `BornMachine.classifier`."""

    machine: BornMachine

    def __call__(self, x: Real[Array, "batch sites"]) -> Float[Array, "batch C"]:
        """p(c | x)."""
        return self.machine.class_probabilities(x)

    def log_probabilities(self, x: Real[Array, "batch sites"]) -> Float[Array, "batch C"]:
        """log p(c | x)."""
        return self.machine.class_log_probabilities(x)

    def predict(self, x: Real[Array, "batch sites"]) -> Int[Array, " batch"]:
        """The most probable class."""
        return self.machine.predict(x)


class Generator(eqx.Module):
    """p(x | c) of a machine; see `BornMachine.generator`."""

    machine: BornMachine

    def __call__(
        self, x: Real[Array, "batch sites"], labels: Integer[Array, " batch"]
    ) -> Float[Array, " batch"]:
        """log p(x | c) of the label of each sample, in nats."""
        return self.machine.log_conditional(x, labels)

    def sample(
        self,
        key: Key[Array, ""],
        labels: int | Integer[Array, ""] | Integer[Array, " n"],
        n: int | None = None,
        *,
        method: str = "exact",
        bins: int = 200,
    ) -> Float[Array, "n sites"]:
        """Samples of p(x | c), as `etude.systems.born_machine.sample` draws them."""
        return sample(self.machine, key, labels, n, method=method, bins=bins)
