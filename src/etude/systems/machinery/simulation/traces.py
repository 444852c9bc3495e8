"""What the faults of simulated recordings leave in them, and so the best that anyone can do.

>>> energy = np.array([[[np.inf, np.inf]], [[0.0, 400.0]]])  # healthy; a fault, in block 2 only
>>> traces = Traces(energy, np.ones(2), block=100)
>>> traces.empty(100).tolist(), traces.ceiling(100)
([[False, False], [True, False]], 0.75)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import erfc

import etude as et


@dataclass(frozen=True, eq=False)
class Traces:
    """The energy of each fault of each recording, block by block.

    Attributes:
        energy: sum of the squared samples of each component of the fault in each block; infinite
            where a recording has no such component, as a healthy one.
        noise: variance of a sample of the white noise of each recording.
        block: samples of a block.
    """

    energy: Float[np.ndarray, "records components blocks"]
    noise: Float[np.ndarray, " records"]
    block: int

    def detectability(self, window: int) -> Float[np.ndarray, "records windows"]:
        """How far a window lies from one without the fault, in standard deviations of the noise.

        Of a filter that knows the wave of the fault: sqrt(energy / variance), of the weaker of two
        components. Windows follow each other from the first sample on.

        Raises DataError unless windows are whole blocks.
        """
        if window < self.block or window % self.block:
            raise et.DataError(
                f"Traces: windows of {window} samples, expected a multiple of {self.block}, the "
                "length of a block."
            )
        blocks = window // self.block
        count = self.energy.shape[2] // blocks
        parts = self.energy[:, :, : count * blocks].reshape(*self.energy.shape[:2], count, blocks)
        weakest = parts.sum(-1).min(1)
        return np.sqrt(weakest / self.noise[:, None])

    def empty(self, window: int) -> Bool[np.ndarray, "records windows"]:
        """The windows of faulty recordings in which a component of the fault does not occur.

        Nothing tells them from windows of another class, however good the classifier.
        """
        return self.detectability(window) == 0

    def ceiling(self, window: int) -> float:
        """The largest accuracy over windows, with as many of each class, that can be expected.

        A window at the distance d from one without the fault is told from it with the error
        Q(d / 2) of either; where d is 0, it counts as wrong. An upper bound: it takes the wave of
        the fault as known, and no noise but the white one. It holds while the windows that look
        healthy are no more than those that are.
        """
        d = self.detectability(window)
        # 2 Q(d / 2)
        return float(1 - np.mean(erfc(d / 2 / np.sqrt(2))))
