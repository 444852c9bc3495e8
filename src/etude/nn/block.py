"""The block of convolutional networks: a convolution, batch normalisation, a rectifier.

>>> import jax.numpy as jnp
>>> block = ConvolutionBlock(1, 8, kernel=(1, 7), stride=(1, 2), key=jax.random.key(0))
>>> y, moved = block(jnp.ones((4, 1, 64, 1)))
>>> y.shape
(4, 1, 32, 8)
"""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from etude.engine.numbers import is_count
from etude.inputs import check_flags
from etude.nn.normalisation import BatchNorm


class ConvolutionBlock(eqx.Module):
    """A convolution without bias, `BatchNorm` and a rectifier.

    The input is `(batch, height, width, channels)`. Signals have height 1: the same as a
    convolution along one axis, and faster on a CPU than XLA's one-dimensional form. Zeros are put
    around the input, `(kernel - 1) // 2` before it and the rest behind, so that the output has
    ``ceil(size / stride)`` entries along each axis. The weights are normal with variance
    ``2 / fan-in`` (He et al. 2015).

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: taps along height and width.
        stride: steps along height and width.
        rectify: whether to end with a rectifier; not where something is added first.
        key: random key of the initial weights.

    Raises:
        ValueError: a size that is no whole number of 1 or more; a `rectify` that is no truth value.
    """

    weight: Float[Array, "height width inputs outputs"]
    norm: BatchNorm
    stride: tuple[int, int] = eqx.field(static=True)
    rectify: bool = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        rectify: bool = True,
        key: PRNGKeyArray,
    ):
        sizes = (inputs, outputs, *kernel, *stride)
        if not all(map(is_count, sizes)) or (len(kernel), len(stride)) != (2, 2):
            raise ValueError(
                f"ConvolutionBlock: got inputs={inputs}, outputs={outputs}, kernel={kernel} and "
                f"stride={stride}; expected whole numbers of 1 or more, two of kernel and stride."
            )
        check_flags("ConvolutionBlock", rectify=rectify)
        size = (2 / (kernel[0] * kernel[1] * inputs)) ** 0.5
        self.weight = size * jax.random.normal(key, (*kernel, inputs, outputs))
        self.norm = BatchNorm(outputs)
        self.stride, self.rectify = (int(stride[0]), int(stride[1])), bool(rectify)

    def __call__(
        self, x: Float[Array, "batch height width inputs"]
    ) -> tuple[Float[Array, "batch rows columns outputs"], "ConvolutionBlock"]:
        """What comes out, and the block with its statistics moved; see `BatchNorm`."""
        found = jax.lax.conv_general_dilated(
            x,
            self.weight,
            self.stride,
            [_around(taps, step, size) for taps, step, size in self._axes(x)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        found, norm = self.norm(found)
        block = eqx.tree_at(lambda block: block.norm, self, norm)
        return (jax.nn.relu(found) if self.rectify else found), block

    def _axes(self, x: Array) -> list[tuple[int, int, int]]:
        return list(zip(self.weight.shape[:2], self.stride, x.shape[1:3], strict=True))


def _around(taps: int, step: int, size: int) -> tuple[int, int]:
    """Zeros before and behind, so that there are ceil(size / step) steps."""
    before = (taps - 1) // 2
    return before, max((-(-size // step) - 1) * step + taps - size - before, 0)
