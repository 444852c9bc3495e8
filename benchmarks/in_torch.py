"""A plain torch loop, with a `DataLoader` and with tensor indexing."""

import time
from typing import Any

import numpy as np

from benchmarks.problems import Problem


def network(problem: Problem) -> Any:
    """The network with the first weights of the problem."""
    import torch

    modules: list[Any] = []
    for w, b in problem.layers:
        linear = torch.nn.Linear(w.shape[1], w.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def loader(problem: Problem) -> Any:
    """A shuffling loader over the data."""
    import torch

    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y.astype(np.int64))
    data = torch.utils.data.TensorDataset(x, y)
    return torch.utils.data.DataLoader(data, problem.batch, shuffle=True, drop_last=True)


class Loader:
    """`for x, y in loader`, the loss read once per epoch."""

    now = staticmethod(time.perf_counter)

    def __init__(self, problem: Problem):
        import torch

        torch.manual_seed(0)
        self.network = network(problem)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=problem.learning_rate)
        self.loss = torch.nn.CrossEntropyLoss()
        self.data = loader(problem)

    def batches(self) -> Any:
        """The batches of one epoch."""
        return self.data

    def train(self, epochs: int) -> tuple[float, float]:
        begin, mean = self.now(), float("nan")
        for _ in range(epochs):
            values = []
            for x, y in self.batches():
                self.adam.zero_grad()
                value = self.loss(self.network(x), y)
                value.backward()
                self.adam.step()
                values.append(value.detach())
            mean = float(sum(values) / len(values))
        return self.now() - begin, mean


class Indexing(Loader):
    """A permutation, and the tensors indexed by its pieces."""

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.x, self.y = self.data.dataset.tensors
        self.batch, self.steps = problem.batch, problem.steps

    def batches(self) -> Any:
        import torch

        for taken in torch.randperm(len(self.x)).split(self.batch)[: self.steps]:
            yield self.x[taken], self.y[taken]
