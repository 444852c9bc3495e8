"""SpecAugment as a setting of a trainer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Inexact, Key

import etude as et
from etude.augment import spec_augment


@dataclass(frozen=True)
class SpecAugment:
    """Masks over frequency and time; see `etude.augment.spec_augment`.

    Attributes:
        time_mask_param: widest time mask, in frames.
        freq_mask_param: widest frequency mask, in bins.
        num_time_masks: time masks per spectrogram.
        num_freq_masks: frequency masks per spectrogram.

    Raises:
        ConfigurationError: a negative one, or nothing to mask.

    >>> import jax, jax.numpy as jnp
    >>> SpecAugment(8, 4)(jnp.ones((2, 32, 40)), jax.random.key(0)).shape
    (2, 32, 40)
    """

    time_mask_param: int = 40
    freq_mask_param: int = 20
    num_time_masks: int = 2
    num_freq_masks: int = 2

    def __post_init__(self):
        times = self.time_mask_param * self.num_time_masks
        frequencies = self.freq_mask_param * self.num_freq_masks
        settings = tuple(vars(self).values())
        if min(settings) < 0 or times + frequencies == 0:
            raise et.ConfigurationError(
                f"SpecAugment: got widths and numbers of masks {settings}, expected none below 0, "
                "and something to mask. Pass use_specaugment=False to train without."
            )

    def __call__(
        self, spectrograms: Inexact[Array, "*axes"], key: Key[Array, ""]
    ) -> Inexact[Array, "*axes"]:
        """Spectrograms `(batch, freq, time)` or `(batch, channels, freq, time)` with masks of 0."""
        x = spectrograms
        planes = x[:, None] if x.ndim == 3 else x
        masked = spec_augment(
            planes,
            key,
            self.time_mask_param,
            self.freq_mask_param,
            self.num_time_masks,
            self.num_freq_masks,
        )
        return masked.reshape(x.shape)

    def batch(self, batch: Any, key: Key[Array, ""]) -> Any:
        """A batch whose spectrograms are masked; the rest is as it was."""
        if isinstance(batch, Mapping):
            return {**batch, "signal": self(batch["signal"], key)}
        first, *rest = batch
        return (self(first, key), *rest)
