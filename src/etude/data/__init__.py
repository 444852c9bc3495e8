"""Data: arrays on the device, random access, any iterable, several together; named data sets.

All are addressed by (epoch, position). `ArrayData` for what fits on the device, `AccessData` for
what can be indexed, `StreamData` for the rest; `Together` and `Turns` combine them; `load` gives
the data sets that are known by name.
"""

from etude.data.access import AccessData as AccessData
from etude.data.arrays import ArrayData as ArrayData
from etude.data.checks import check_labels as check_labels
from etude.data.combine import Together as Together, Turns as Turns
from etude.data.files import Split as Split
from etude.data.idx import read_idx as read_idx
from etude.data.named import DataSet as DataSet, load as load
from etude.data.stream import StreamData as StreamData
