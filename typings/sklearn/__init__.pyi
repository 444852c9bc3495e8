# scikit-learn has no annotations: what is used of it.
