"""Layers that two systems need."""

from etude.nn.block import ConvolutionBlock as ConvolutionBlock
from etude.nn.convolution import (
    CausalConvolution as CausalConvolution,
    decimate as decimate,
    strided_convolution as strided_convolution,
)
from etude.nn.normalisation import BatchNorm as BatchNorm
