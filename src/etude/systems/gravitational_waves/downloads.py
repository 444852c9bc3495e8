"""The strain around GW150914 as the Gravitational Wave Open Science Center publishes it.

R. Abbott et al., SoftwareX 13 (2021) 100658; data set doi:10.7935/K5MW2F23, CC BY 4.0. Please
acknowledge the center (gwosc.org) when you publish results that use its data.
"""

from pathlib import Path

from etude.data import data_folder, download

ADDRESS = "https://gwosc.org/s/events/GW150914/"

#: detector -> name of its file (32 s at 4096 Hz) and its SHA-256
FILES = {
    "H1": (
        "H-H1_LOSC_4_V2-1126259446-32.hdf5",
        "6e6976e932074a3b4e4a398ed02c62e30fcaa2781811762caea04937133583f6",
    ),
    "L1": (
        "L-L1_LOSC_4_V2-1126259446-32.hdf5",
        "56706e68c811b15548f1d7ed69d7c48d5fcc62aeb21fbaf131355f3cc5c07189",
    ),
}


def gw150914(root: str | Path | None = None) -> dict[str, Path]:
    """The two files of GW150914, by detector; what is not there yet is fetched, 1 MB each.

    They are looked for in the folder `gw150914` of `root`, and fetched into it. A file is there
    whole, with the right SHA-256, or not at all.

    Args:
        root: folder of the data; None: the variable ETUDE_DATA, else the user's cache folder.

    Raises:
        DataError: no network, or a file that is not the one published.

    >>> sorted(FILES)
    ['H1', 'L1']
    """
    folder = data_folder(root) / "gw150914"
    return {
        detector: download(ADDRESS + name, folder / name, digest)
        for detector, (name, digest) in FILES.items()
    }
