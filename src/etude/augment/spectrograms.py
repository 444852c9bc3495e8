"""SpecAugment for spectrograms, `(batch, channels, freq, time)`."""

import jax
from jaxtyping import Array, Inexact, Key

from etude.inputs import Values, check_count

from .draws import batched
from .signals import mask_axis


def spec_augment(
    spectrograms: Values,
    key: Key[Array, ""],
    time_mask_param: int = 40,
    freq_mask_param: int = 20,
    num_time_masks: int = 2,
    num_freq_masks: int = 2,
    fill: float = 0.0,
) -> Inexact[Array, "batch channels freq time"]:
    """Overwrite random bands of frequency and stretches of time (Park et al. 2019).

    Widths are uniform in 0..param, as in the paper. Masks may overhang the ends, so that every
    band and every frame is masked equally often; the paper keeps them inside, which spares the
    ends. The paper's time warping is left out: its authors find that it matters least.

    Args:
        spectrograms: the batch.
        key: the source of randomness.
        time_mask_param: widest time mask, in frames.
        freq_mask_param: widest frequency mask, in bins.
        num_time_masks: time masks per sample.
        num_freq_masks: frequency masks per sample.
        fill: the value written. 0 is neutral only if the spectrograms are normalised to mean 0.

    Raises:
        ValueError: a parameter that is no whole number of 0 or more; less than three axes.

    >>> import jax.numpy as jnp
    >>> spec_augment(jnp.ones((2, 1, 64, 100)), jax.random.key(0)).shape
    (2, 1, 64, 100)
    """
    parameters = {
        "time_mask_param": time_mask_param,
        "freq_mask_param": freq_mask_param,
        "num_time_masks": num_time_masks,
        "num_freq_masks": num_freq_masks,
    }
    for name, count in parameters.items():
        check_count("spec_augment", name, count, 0)
    spectrograms = batched("spec_augment", spectrograms, least=3)
    freq_key, time_key = jax.random.split(key)
    masked = mask_axis(spectrograms, freq_key, -2, freq_mask_param, num_freq_masks, fill)
    return mask_axis(masked, time_key, -1, time_mask_param, num_time_masks, fill)
