"""Any function of windows, slid over long streams: a search by network.

>>> stream = np.random.default_rng(0).normal(size=(4096, 2))
>>> energy = lambda windows: (windows**2).sum((1, 2))
>>> sliding = Sliding(energy, sample_rate=2048, window=1.0, stride=0.25, merger=0.8)
>>> sliding.triggers(stream, start=100.0).time
array([100.8 , 101.05, 101.3 , 101.55, 101.8 ])
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

import etude as et
from etude.systems.gravitational_waves.pipeline.background import Background, lags, slid
from etude.systems.gravitational_waves.pipeline.triggers import Triggers

#: Windows `(n, samples, detectors)` in float32 -> how signal-like each is, `(n,)`.
Statistic = Callable[[Any], Any]


@dataclass(frozen=True)
class Sliding:
    """A statistic of windows, applied at every stride of a whitened stream.

    Attributes:
        statistic: see `Statistic`. Give a compiled function of a JAX model: it always sees the
            same shape, the last batch being filled up.
        sample_rate: Hz.
        window: seconds that the statistic sees.
        stride: seconds between windows; at most the width of the range in which a training window
            holds its merger, so that every merger is at home in some window.
        merger: seconds from the start of a window to where a signal merges, typically: the time
            of a trigger.
        batch: windows per call.

    Raises `DataError` if the window or stride is no whole number of samples, or not positive.
    """

    statistic: Statistic
    sample_rate: float
    window: float
    stride: float
    merger: float
    batch: int = 256

    def __post_init__(self) -> None:
        for name, seconds in (("window", self.window), ("stride", self.stride)):
            samples = seconds * self.sample_rate
            if samples < 1 or abs(samples - round(samples)) > 1e-6:
                raise et.DataError(
                    f"Sliding: a {name} of {seconds} s is {samples:g} samples at "
                    f"{self.sample_rate:g} Hz; it must be a whole number, at least 1."
                )

    def values(self, stream: Float[np.ndarray, "samples detectors"]) -> Float64[np.ndarray, " n"]:
        """The statistic of every window that lies wholly in the stream, one per stride.

        Raises `DataError` if the stream is shorter than a window, or the statistic of a window is
        not one number, or NaN.
        """
        length, step = round(self.window * self.sample_rate), round(self.stride * self.sample_rate)
        if len(stream) < length:
            raise et.DataError(
                f"The stream has {len(stream) / self.sample_rate:g} s, less than a window of "
                f"{self.window:g} s. Give a longer stretch."
            )
        white = stream.astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(white, length, axis=0)[::step]
        found = []
        for first in range(0, len(windows), self.batch):
            few = np.moveaxis(windows[first : first + self.batch], 1, 2)
            # One shape for all calls, so one compilation.
            full = np.pad(few, ((0, self.batch - len(few)), (0, 0), (0, 0)))
            values = np.asarray(self.statistic(jnp.asarray(full)), np.float64)
            if values.shape != (self.batch,):
                raise et.DataError(
                    f"The statistic of {self.batch} windows has shape {values.shape}; expected "
                    f"({self.batch},), one number for each window."
                )
            found.append(values[: len(few)])
        values = np.concatenate(found)
        if np.isnan(values).any():
            raise et.DataError(
                f"The statistic of {np.isnan(values).sum()} of {len(values)} windows is NaN. Look "
                "for gaps in the strain, or a model whose training diverged."
            )
        return values

    def times(self, count: int, start: float) -> Float64[np.ndarray, " n"]:
        """GPS times of the triggers of the first `count` windows of a stream from `start`."""
        return start + self.merger + self.stride * np.arange(count)

    def triggers(self, stream: Float[np.ndarray, "samples detectors"], start: float) -> Triggers:
        """One trigger for each window: cluster them before counting."""
        values = self.values(stream)
        return Triggers(self.times(len(values), start), values)

    def background(
        self,
        stream: Float[np.ndarray, "samples detectors"],
        step: float = 1.0,
        count: int | None = 10,
        cluster_window: float = 0.5,
    ) -> Background:
        """From time slides of the stream, each searched anew: see `lags`.

        Slides by less than a window would pair the same noise again at another place in the
        window. A signal in the stream stays in each detector of every slide, by itself, which
        raises the background, on the safe side.

        Raises `DataError` if `step` is shorter than the stride.
        """
        if step < self.stride:
            raise et.DataError(
                f"Time slides of {step} s are shorter than the stride of {self.stride} s: slides "
                "would not be independent. Take longer steps."
            )
        duration = len(stream) / self.sample_rate
        chosen = lags(duration, step, count)
        slides = [
            self.triggers(slid(stream, float(lag), self.sample_rate), 0.0).clustered(cluster_window)
            for lag in chosen
        ]
        # The time that was searched: one stride for each window.
        windows = 1 + int((duration - self.window) / self.stride + 1e-9)
        return Background.of(slides, len(chosen) * windows * self.stride)
