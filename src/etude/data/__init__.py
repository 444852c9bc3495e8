"""Data: arrays on the device, random access, any iterable, several together; named data sets.

All are addressed by (epoch, position). `ArrayData` for what fits on the device, `AccessData` for
what can be indexed, `StreamData` for the rest; `Together` and `Turns` combine them; `load` gives
the data sets that are known by name.
"""

from etude.data.access import AccessData as AccessData
from etude.data.arrays import ArrayData as ArrayData
from etude.data.blocks import Blocks as Blocks
from etude.data.checks import (
    check_finite as check_finite,
    check_labels as check_labels,
    length_of as length_of,
)
from etude.data.combine import Together as Together, Turns as Turns
from etude.data.download import data_folder as data_folder, download as download
from etude.data.files import Split as Split
from etude.data.idx import read_idx as read_idx
from etude.data.named import (
    NAMES as NAMES,
    NUMERALS as NUMERALS,
    DataSet as DataSet,
    find as find,
    load as load,
)
from etude.data.origins import (
    DIGITS as DIGITS,
    FASHION_MNIST as FASHION_MNIST,
    Origin as Origin,
)
from etude.data.samples import read_samples as read_samples
from etude.data.stream import StreamData as StreamData
