"""Models of other libraries, made models of ours; nothing is imported that is not used."""

from etude.adapters.linen import Linen as Linen, linen as linen
