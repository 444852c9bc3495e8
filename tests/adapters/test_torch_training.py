"""A module and a DataLoader, trained here and in torch: the same weights and statistics."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset

RNG = np.random.default_rng(0)
PICTURES = RNG.normal(size=(40, 1, 8, 8))
LABELS = RNG.integers(3, size=40)


def network(drop=0.0):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(drop),
        nn.Linear(36, 3),
    )


def loader(dtype):
    pairs = TensorDataset(torch.tensor(PICTURES, dtype=dtype), torch.tensor(LABELS))
    return DataLoader(pairs, batch_size=8)


def loss(model, batch, context):
    x, y = batch
    logits, model = model.moved(context, x)
    value = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    return value, {}, model


def accuracy(model, batch, context):
    return {"accuracy": jnp.mean(model(batch[0]).argmax(-1) == batch[1])}


def phase(data, steps):
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.05, momentum=0.9))
    return et.Phase("fit", learner, data, et.Steps(steps), et.Validation(data, accuracy))


def in_torch(module, batches, steps):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    for number in range(steps):
        x, y = batches[number % len(batches)]
        optimizer.zero_grad()
        F.cross_entropy(module(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("dtype", "close"),
    [
        pytest.param("float64", 1e-10, id="double"),
        pytest.param("float32", 5e-3, id="single", marks=pytest.mark.slow),
    ],
)
def test_fifty_steps_of_momentum_are_those_of_torch(dtype, close):
    batches = loader(getattr(torch, dtype))
    module = network().to(getattr(torch, dtype))
    theirs = copy.deepcopy(module)
    in_torch(theirs, list(batches), 50)
    with jax.enable_x64(dtype == "float64"):
        model = et.torch_module(module, next(iter(batches))[0])
        data = et.StreamData(batches)
        result = et.Trainer(model, phase(data, 50), progress=False).fit()
    module.load_state_dict(result.model.state_dict(), strict=True)
    for name, one in theirs.state_dict().items():
        got, scale = module.state_dict()[name], one.abs().max()
        assert got.dtype == one.dtype, name
        assert (got - one).abs().max() <= close * scale, name
    assert module[1].num_batches_tracked == 50
    # Validation is evaluation in torch.
    x, y = batches.dataset.tensors
    right = (module.eval()(x).argmax(-1) == y).double().mean()
    assert result.metrics["valid/accuracy"] == pytest.approx(float(right))


class Breaking(et.Callback):
    def on_steps_end(self, trainer, metrics):
        if trainer.step >= 6:
            raise RuntimeError("power cut")


def test_a_run_that_broke_off_resumes_to_the_same_bits(tmp_path):
    """With a module that is exported again, as in another process."""

    batches = loader(torch.float32)

    def exported():
        return et.torch_module(network(drop=0.3), next(iter(batches))[0])

    def trainer(model, folder, *callbacks):
        listed = [et.ModelCheckpoint(et.Steps(4)), *callbacks]
        options = {"run": tmp_path / folder, "callbacks": listed, "progress": False}
        return et.Trainer(model, phase(et.StreamData(batches), 9), **options)

    first = exported()
    whole = trainer(first, "whole").fit().model
    with pytest.raises(RuntimeError, match="power cut"):
        trainer(first, "cut", Breaking()).fit()
    resumed = trainer(exported(), "cut").resume().model
    for name, one in whole.state_dict().items():
        assert torch.equal(one, resumed.state_dict()[name]), name


def test_labels_that_do_not_fit_are_refused():
    pairs = TensorDataset(torch.tensor(PICTURES[:4]), torch.tensor([0, 1, 2, 2**40]))
    with pytest.raises(et.DataError, match="do not fit int32"):
        et.StreamData(DataLoader(pairs, batch_size=4))
