"""The Born machine: one matrix product state that is classifier and generator at once.

Its two sides, `Classifier` and `Generator`, hold the machine itself: there is nothing to copy.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int, Integer, Key, Real

from etude.systems.born_machine.embeddings import Embedding
from etude.systems.born_machine.initial import initial_tensors
from etude.systems.born_machine.labels import of_label
from etude.systems.born_machine.mps import amplitudes, log_square
from etude.systems.born_machine.partition import log_class_norms
from etude.systems.born_machine.sampling import sample


class BornMachine(eqx.Module):
    """p(x, c) = |psi(x, c)|^2 / Z, with psi a matrix product state over embedded data.

    All probabilities come from one set of tensors. Densities are in nats, with respect to dx in
    the coordinates of the embedding. `x` has a row per sample and a column per site, within the
    embedding's range (whole numbers for one-hot). The chain is closed by the unit vector e_0 at
    both ends. Make one with `BornMachine.create`.

    Born's rule for classification and generation: Stoudenmire and Schwab, arXiv:1605.05775; Han
    et al., Physical Review X 8, 031012.

    >>> import jax, jax.numpy as jnp
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 2, 3, Embedding("legendre", 4), 5)
    >>> x = jnp.array([[0.1, -0.7], [0.0, 0.9]])
    >>> machine.class_probabilities(x).sum(1).round(4).tolist()
    [1.0, 1.0]
    >>> total = jax.nn.logsumexp(machine.class_log_partition())
    >>> bool(jnp.isclose(total, machine.log_partition()))
    True
    """

    left: Inexact[Array, "L D d D"]  # sites before the class site: left bond, physical, right bond
    centre: Inexact[Array, "D C D"]  # the class site
    right: Inexact[Array, "R D d D"]  # sites after it
    embedding: Embedding

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        sites: int,
        classes: int,
        embedding: Embedding,
        bond_dim: int,
        *,
        out_position: int | None = None,
        init: str = "identity",
        dtype: jnp.dtype | type = jnp.float32,
    ) -> "BornMachine":
        """A machine over `sites` numbers and `classes` classes (1 for generation alone).

        Args:
            key: seed of the random initial tensors.
            sites: numbers per sample.
            classes: number of classes.
            embedding: what a number becomes; its `dim` is the physical dimension d.
            bond_dim: dimension D of every bond.
            out_position: number of sites before the class site; half of them by default.
            init: `identity`, `isometry` or `gaussian`, see `initial.py`.
            dtype: type of the tensors; complex ones make a complex amplitude.

        Raises:
            ValueError: a size below 1, a class site outside the chain, an unknown `init` or a
                `dtype` that is not inexact.

        >>> import jax
        >>> create = BornMachine.create
        >>> create(jax.random.key(0), 4, 2, Embedding("fourier", 3), 6).left.shape
        (2, 6, 3, 6)
        """
        for name, value in (("sites", sites), ("classes", classes), ("bond_dim", bond_dim)):
            if value < 1:
                raise ValueError(f"BornMachine({name}): got {value}, expected 1 or more.")
        before = sites // 2 if out_position is None else out_position
        if not 0 <= before <= sites:
            raise ValueError(
                f"BornMachine(out_position): got {before}, expected 0 to {sites}, the number of "
                "sites before the class site."
            )
        dtype = jnp.dtype(dtype)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(f"BornMachine(dtype): got {dtype}, expected a float or complex type.")
        shape = (before, sites - before, classes, bond_dim)
        return cls(*initial_tensors(init, key, shape, embedding, dtype), embedding)

    @property
    def sites(self) -> int:
        """Numbers per sample."""
        return self.left.shape[0] + self.right.shape[0]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.centre.shape[1]

    @property
    def bond_dim(self) -> int:
        """Dimension D of every bond."""
        return self.centre.shape[0]

    @property
    def out_position(self) -> int:
        """Number of sites before the class site."""
        return self.left.shape[0]

    @property
    def dtype(self) -> jnp.dtype:
        """Type of the tensors."""
        return self.centre.dtype

    @property
    def real_dtype(self) -> jnp.dtype:
        """Type of probabilities, and of the data as the machine sees them."""
        return jnp.finfo(self.dtype).dtype

    def features(self, x: Real[Array, "batch sites"]) -> Inexact[Array, "sites batch d"]:
        """The embedded data, in the dtype of the tensors.

        Raises ValueError if the number of columns is not that of the sites.
        """
        if x.shape[1] != self.sites:
            raise ValueError(
                f"BornMachine: x has shape {x.shape}, expected (batch, {self.sites}): a column "
                "per site."
            )
        return self.embedding(x.T.astype(self.real_dtype)).astype(self.dtype)

    @eqx.filter_jit
    def log_weights(self, x: Real[Array, "batch sites"]) -> Float[Array, "batch C"]:
        """log |psi(x, c)|^2 of every class, not normalised, always finite."""
        psi, log_scale = amplitudes(self.left, self.centre, self.right, self.features(x))
        return log_square(psi) + 2 * log_scale[:, None]

    @eqx.filter_jit
    def class_log_partition(self) -> Float[Array, " C"]:
        """log Z_c: of the integral of |psi(x, c)|^2 over x."""
        return log_class_norms(self.left, self.centre, self.right)

    def log_partition(self) -> Float[Array, ""]:
        """log Z: of the integral over x and the sum over classes."""
        return jax.nn.logsumexp(self.class_log_partition())

    def class_log_probabilities(self, x: Real[Array, "batch sites"]) -> Float[Array, "batch C"]:
        """log p(c | x)."""
        return jax.nn.log_softmax(self.log_weights(x))

    def class_probabilities(self, x: Real[Array, "batch sites"]) -> Float[Array, "batch C"]:
        """p(c | x)."""
        return jnp.exp(self.class_log_probabilities(x))

    def predict(self, x: Real[Array, "batch sites"]) -> Int[Array, " batch"]:
        """The most probable class."""
        return jnp.argmax(self.log_weights(x), -1)

    def log_joint(self, x: Real[Array, "batch sites"]) -> Float[Array, "batch C"]:
        """log p(x, c) of every class."""
        return self.log_weights(x) - self.log_partition()

    def log_conditional(
        self, x: Real[Array, "batch sites"], labels: Integer[Array, " batch"]
    ) -> Float[Array, " batch"]:
        """log p(x | c) of the label of each sample.

        Raises ValueError for a class that is not there; compiled, its sample is NaN.
        """
        log_density = self.log_weights(x) - self.class_log_partition()
        return of_label(log_density, labels, "log_conditional")

    def log_marginal(self, x: Real[Array, "batch sites"]) -> Float[Array, " batch"]:
        """log p(x)."""
        return jax.nn.logsumexp(self.log_weights(x), -1) - self.log_partition()

    @property
    def classifier(self) -> "Classifier":
        """p(c | x) as a callable. A view: the tensors are the machine's."""
        return Classifier(self)

    @property
    def generator(self) -> "Generator":
        """log p(x | c) as a callable that also samples. A view: the tensors are the machine's."""
        return Generator(self)

    def sync_tensors(self, after: str = "classification") -> "BornMachine":
        """The machine as it is: classifier and generator share their tensors, always.

        Kept for programs written for machines with two copies of them. Raises ValueError unless
        `after` is "classification" or "generation".
        """
        if after not in ("classification", "generation"):
            raise ValueError(
                f"sync_tensors(after): got {after!r}, expected 'classification' or 'generation'."
            )
        return self


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
