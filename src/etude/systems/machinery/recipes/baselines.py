"""What stands beside a network: a random forest on features, and the envelope rule on records."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

import etude as et
from etude.systems.machinery.records import Records, Windows
from etude.systems.machinery.reports import soft_vote
from etude.systems.machinery.rule import EnvelopeRule
from etude.systems.machinery.signals import features

_TREES = 100
_CHUNK = 256  # windows or records that are transformed at a time


def forest(train: Windows, test: Windows, seed: int) -> dict[str, float]:
    """`forest_windows` and `forest_records`: shares that a random forest gets right.

    It has a hundred trees on the 36 features of `features`, and votes for a record as a network.
    """
    from sklearn.ensemble import RandomForestClassifier

    fitted = RandomForestClassifier(_TREES, random_state=seed).fit(_described(train), train.labels)
    found = np.zeros((len(test), len(train.classes)))
    found[:, fitted.classes_] = fitted.predict_proba(_described(test))
    record = test.metadata["record"]
    vote = soft_vote(found, record)
    truth = np.array([test.labels[record == number][0] for number in vote.record])
    return {
        "forest_windows": float(np.mean(found.argmax(1) == test.labels)),
        "forest_records": float(np.mean(vote.probabilities.argmax(1) == truth)),
    }


def ruled(records: Records, faults: Sequence[str], **settings: Any) -> dict[str, float]:
    """`rule_records`: the share of records on which the envelope rule is right.

    Args:
        records: with "speed" and "orders" among their metadata.
        faults: the characteristic frequency of each class after the first.
        settings: of `EnvelopeRule`.
    """
    rule = EnvelopeRule(tuple(faults), **settings)
    for name in ("speed", "orders"):
        if name not in records.metadata:
            raise et.DataError(f"The envelope rule needs {name!r} among the metadata of records.")
    found = np.empty(len(records), int)
    lengths = np.array([len(signal) for signal in records.signals])
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for start in range(0, len(alike), _CHUNK):
            some = alike[start : start + _CHUNK]
            found[some] = rule(
                np.stack([records.signals[i] for i in some]),
                records.sample_rate,
                records.metadata["speed"][some],
                records.metadata["orders"][some],
            )
    return {"rule_records": float(np.mean(found == records.labels))}


def _described(windows: Windows) -> Float[np.ndarray, "n features"]:
    starts = range(0, len(windows), _CHUNK)
    parts = [features(windows.signals[k : k + _CHUNK], windows.sample_rate) for k in starts]
    return np.concatenate([np.asarray(part) for part in parts])
