"""Normalising flows: RealNVP, MAF and neural splines, from layers and functions of one value."""

from etude.systems.generative.flows.elementwise import Affine, Elementwise, Spline
from etude.systems.generative.flows.flow import Flow
from etude.systems.generative.flows.layers import Autoregressive, Coupling

__all__ = ["Affine", "Autoregressive", "Coupling", "Elementwise", "Flow", "Spline"]
