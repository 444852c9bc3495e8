"""Layers that two systems need."""

from etude.nn.convolution import (
    CausalConvolution as CausalConvolution,
    decimate as decimate,
    strided_convolution as strided_convolution,
)
