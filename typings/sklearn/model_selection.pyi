from typing import Any

import numpy as np

def train_test_split(
    *arrays: Any,
    test_size: float | None = None,
    train_size: float | None = None,
    stratify: np.ndarray | None = None,
    random_state: int | None = None,
) -> list[np.ndarray]: ...
def __getattr__(name: str) -> Any: ...
