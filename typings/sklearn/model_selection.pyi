from typing import Any

import numpy as np

def train_test_split(
    *arrays: Any,
    test_size: float | None = None,
    train_size: float | None = None,
    stratify: np.ndarray | None = None,
    random_state: int | None = None,
) -> list[np.ndarray]: ...
def check_cv(cv: Any, y: Any = None, *, classifier: bool = False) -> Any: ...
def cross_val_score(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    scoring: Any = None,
    cv: Any = None,
    error_score: Any = ...,
) -> np.ndarray: ...
def __getattr__(name: str) -> Any: ...
