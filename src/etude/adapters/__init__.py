"""Models of other libraries, made models of ours; nothing is imported that is not used."""

from etude.adapters.linen import Linen as Linen, linen as linen
from etude.adapters.torch import TorchModule as TorchModule, torch_module as torch_module
