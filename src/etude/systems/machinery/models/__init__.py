"""Networks of signals and spectrograms, for one class or several labels at once."""

from etude.systems.machinery.models.cnn import CNN1D as CNN1D, WDCNN as WDCNN
from etude.systems.machinery.models.envelope import EnvelopeNetwork as EnvelopeNetwork
from etude.systems.machinery.models.hybrid import HybridNetwork as HybridNetwork
from etude.systems.machinery.models.network import AbstractNetwork as AbstractNetwork
from etude.systems.machinery.models.resnet import ResNet1D as ResNet1D
from etude.systems.machinery.models.spectrogram import SpectrogramCNN as SpectrogramCNN
