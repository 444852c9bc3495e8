"""Modules of torch as models: what learns, what moves, what is refused, what goes back."""

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import etude as et

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

X = torch.tensor(np.random.default_rng(0).normal(size=(6, 3)), dtype=torch.float32)
KEY = jax.random.key(0)


def moved(model, x, key=KEY):
    return model.moved(et.Context.at(key), x)


def gradients(model, x):
    """Those of the sum of sines of the outputs."""

    def total(params):
        return jnp.sin(moved(eqx.tree_at(lambda m: m.params, model, params), x)[0]).sum()

    return jax.jit(jax.grad(total))(model.params)


def same_gradients(module, x, close=1e-5):
    ours = gradients(et.torch_module(module, x), x.numpy())
    module(x).sin().sum().backward()
    for name, one in module.named_parameters():
        np.testing.assert_allclose(ours[name], one.grad, close, close, err_msg=name)


class Net(nn.Module):
    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.does = forward

    def forward(self, *inputs):
        return self.does(self, *inputs)


@pytest.fixture(scope="module")
def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


@pytest.fixture(scope="module")
def model(normed):
    return et.torch_module(normed, X)


def test_the_module_stays_as_it_is(normed):
    before = {name: one.clone() for name, one in normed.state_dict().items()}
    normed[2].eval()
    state = torch.get_rng_state()
    et.torch_module(normed, X)
    assert [part.training for part in normed] == [True, True, False, True]
    normed[2].train()
    assert torch.equal(state, torch.get_rng_state())
    for name, one in normed.state_dict().items():
        assert torch.equal(one, before[name]), name


def test_evaluation_is_that_of_torch_for_every_number_of_samples(normed, model):
    normed.eval()
    for size in (1, 2, 6):
        wanted = normed(X[:size]).detach()
        np.testing.assert_allclose(model(X[:size].numpy()), wanted, 1e-5, 1e-6)
    normed.train()


def test_what_was_trained_goes_back(normed, model, tmp_path):
    _, after = moved(model, X.numpy())
    normed(X)
    state = after.state_dict()
    for name, one in normed.state_dict().items():
        assert state[name].dtype == one.dtype
        np.testing.assert_allclose(state[name], one, 1e-5, 1e-6, err_msg=name)
    assert state["1.num_batches_tracked"] == 1
    torch.save(state, tmp_path / "weights.pt")
    fresh = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt"), strict=True)
    np.testing.assert_allclose(fresh.eval()(X).detach(), after(X.numpy()), 1e-5, 1e-6)


def test_dropout_keeps_its_share_and_has_a_key():
    module = nn.Sequential(nn.Dropout(0.25), nn.Dropout(0.25))
    ones = torch.ones(300, 200)
    model = et.torch_module(module, ones)
    both, _ = moved(model, ones.numpy())
    # Two layers that drew the same numbers would keep 3/4.
    np.testing.assert_allclose(jnp.mean(both > 0), 0.75**2, atol=0.01)
    np.testing.assert_allclose(both.mean(), 1, atol=0.02)
    np.testing.assert_allclose(both.max(), 0.75**-2, 1e-6)
    assert jnp.array_equal(both, moved(model, ones.numpy())[0])
    assert not jnp.array_equal(both, moved(model, ones.numpy(), jax.random.key(1))[0])
    assert jnp.array_equal(model(ones.numpy()), ones.numpy())


def test_random_numbers_in_evaluation_need_a_key():
    module = Net(lambda self, x: x + torch.rand_like(x) + torch.randn(3) + torch.rand(1))
    model = et.torch_module(module, X)
    with pytest.raises(et.RuleError, match="draws random numbers in evaluation"):
        model(X.numpy())
    assert jnp.array_equal(model(X.numpy(), key=KEY), model(X.numpy(), key=KEY))
    noise = torch.tensor(0.5).expand(5000, 2)
    share = et.torch_module(Net(lambda self, x: torch.bernoulli(x)), noise)
    np.testing.assert_allclose(share(noise.numpy(), key=KEY).mean(), 0.5, atol=0.02)


def test_cumulative_averages():
    """`momentum=None`: torch divides by a number of Python, which no graph can hold."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None))
    model = et.torch_module(module, X)
    for rows in (slice(4), slice(1, 6), slice(2, 6)):
        theirs = module(X[rows])
        ours, model = moved(model, X[rows].numpy())
        np.testing.assert_allclose(ours, theirs.detach(), 1e-4, 1e-5)
    for name, one in model.state_dict().items():
        np.testing.assert_allclose(one, module.state_dict()[name], 1e-5, 1e-6, err_msg=name)
    assert "forward" not in vars(module[1])


def test_a_part_in_evaluation_keeps_its_statistics():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.BatchNorm1d(4))
    module[0].eval()
    _, after = moved(et.torch_module(module, X), X.numpy())
    assert after.buffers.value["0.num_batches_tracked"] == 0
    assert after.buffers.value["2.num_batches_tracked"] == 1


def test_frozen_parameters_are_fixed_and_go_back():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    model = et.torch_module(module, X)
    assert sorted(model.params) == ["1.bias", "1.weight"]
    assert sorted(model.fixed.value) == ["0.bias", "0.weight"]
    assert model.state_dict().keys() == module.state_dict().keys()


def test_tied_parameters_stay_tied():
    torch.manual_seed(0)
    words, head = nn.Embedding(5, 4), nn.Linear(4, 5)
    head.weight = words.weight
    module = Net(lambda self, x: self.head(self.words(x)), words=words, head=head)
    x = torch.tensor([[0, 1], [4, 4], [2, 0]])
    model = et.torch_module(module, x)
    assert sorted(model.params) == ["head.bias", "words.weight"]
    same_gradients(module, x)
    state = model.state_dict()
    assert state["head.weight"] is state["words.weight"]
    module.load_state_dict(state)


def test_gradients_stop_where_torch_stops_them():
    """Straight-through estimators, and regions without gradients, which export forgets."""

    def forward(self, x):
        h = self.f(x)
        with torch.no_grad():
            h2 = h.abs()
            scale = h2.mean(), (h2 * h2).sum()
            with torch.enable_grad():
                h = h + self.g(h2)
        return (h + (h.round() - h).detach()) * scale[0] + h * scale[1]

    torch.manual_seed(0)
    same_gradients(Net(forward, f=nn.Linear(3, 2), g=nn.Linear(2, 2)), X)


class Recurrent(Net):
    def __init__(self, kind, drop=0.0, **options):
        part = kind(4, 3, num_layers=2, dropout=drop, **options)
        super().__init__(lambda self, x: torch.cat([self.part(x)[0], x[..., :1]], -1), part=part)


@pytest.mark.parametrize(
    "module",
    [
        Recurrent(nn.LSTM, batch_first=True, bidirectional=True),
        pytest.param(Recurrent(nn.GRU, bias=False), marks=pytest.mark.slow),
        pytest.param(Recurrent(nn.RNN, nonlinearity="relu"), marks=pytest.mark.slow),
        pytest.param(Recurrent(nn.RNN), marks=pytest.mark.slow),
    ],
    ids=["lstm", "gru", "relu", "tanh"],
)
def test_recurrent_layers(module):
    """The size of their programs does not grow with time."""
    torch.manual_seed(0)
    x = torch.randn(3, 50, 4)
    same_gradients(module, x)
    assert module.part._flat_weights[0] is module.part.weight_ih_l0
    assert len(et.torch_module(module, x).evaluation.operations) < 20


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU], ids=["lstm", "gru"])
def test_recurrent_outputs_and_states_both_ways_in_two_layers(kind):
    """From a start of the caller's, with the gradients of both."""
    torch.manual_seed(0)
    part = kind(4, 3, num_layers=2, bidirectional=True)
    start, cells, x = torch.randn(4, 2, 3), torch.randn(4, 2, 3), torch.randn(5, 2, 4)

    def forward(self, x):
        outputs, states = self.part(x, (start, cells) if kind is nn.LSTM else start)
        states = states if kind is nn.LSTM else (states,)
        return torch.cat([one.flatten() for one in (outputs, *states)])

    module = Net(forward, part=part)
    ours = et.torch_module(module, x)(x.numpy())
    np.testing.assert_allclose(ours, module(x).detach(), 1e-5, 1e-6)
    same_gradients(module, x)


def test_recurrent_layers_drop_between_layers():
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    model = et.torch_module(Recurrent(nn.LSTM, 0.5, batch_first=True), x)
    first, second = (moved(model, x.numpy(), jax.random.key(seed))[0] for seed in (0, 1))
    assert not jnp.array_equal(first, second)
    assert jnp.array_equal(model(x.numpy()), model(x.numpy()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))),
    ],
    ids=["transformer", "weight norm"],
)
def test_larger_modules(module):
    same_gradients(module, torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)))


def test_half_precision_goes_through():
    module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 2))
    x = torch.randn(4, 2, 5)
    model = et.torch_module(module, x)
    halves = jax.tree.map(lambda one: one.astype(jnp.bfloat16), model.params)
    half = eqx.tree_at(lambda m: m.params, model, halves)
    y, after = moved(half, jnp.asarray(x.numpy()).astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert after.buffers.value["1.running_mean"].dtype == jnp.float32
    np.testing.assert_allclose(y.astype(jnp.float32), moved(model, x.numpy())[0], atol=0.05)


def test_weights_of_half_precision_go_back_to_the_bit():
    module = nn.Linear(3, 2).to(torch.bfloat16)
    model = et.torch_module(module, X.to(torch.bfloat16))
    assert model(X.numpy().astype(ml_dtypes.bfloat16)).dtype == jnp.bfloat16
    assert torch.equal(model.state_dict()["weight"], module.weight)


def test_several_inputs_and_outputs():
    def forward(self, x, mask):
        h = self.f(x).masked_fill(mask[:, None], 0)
        return {"logits": h, "parts": (h.sum(), [h.mean(0)])}

    module = Net(forward, f=nn.Linear(3, 2))
    mask = X[:, 0] > 0
    ours = et.torch_module(module, X, mask)(X[:4].numpy(), mask[:4].numpy())
    theirs = module(X[:4], mask[:4])
    np.testing.assert_allclose(ours["parts"][1][0], theirs["parts"][1][0].detach(), 1e-5, 1e-6)


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        return grad


class Extra(nn.Linear):
    def get_extra_state(self):
        return 1

    def set_extra_state(self, state):
        pass


def with_buffer(persistent):
    def forward(self, x):
        self.seen.add_(x.sum())
        return x * self.seen

    module = Net(forward)
    module.register_buffer("seen", torch.zeros(()), persistent=persistent)
    return module


def renamed():
    module = nn.Linear(3, 2)

    def without_bias(part, state, prefix, metadata):
        del state["bias"]

    module.register_state_dict_post_hook(without_bias)
    return module


def hooked():
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].register_full_backward_hook(lambda *_: None)
    return module


def clipped():
    module = nn.Linear(3, 2)
    module.weight.register_hook(lambda grad: grad.clamp(-1, 1))
    return module


def overlapping():
    module = Net(lambda self, x: x @ self.a + x @ self.b)
    module.a = nn.Parameter(torch.ones(3, 3))
    module.b = nn.Parameter(module.a.data.T)
    return module


def in_place(self, x):
    x.add_(1)
    return x


def by_values(self, x):
    return x if x.sum() > 0 else -x


def by_autocast(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        return self.f(x)


def counting(self, x):
    self.calls = getattr(self, "calls", 0) + 1
    return x * self.calls


def clamped(self, x):
    with torch.no_grad():
        self.f.weight.clamp_(-0.1, 0.1)
    return self.f(x)


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (lambda: jnp.ones(3), "got a .*; expected a torch.nn.Module"),
        (lambda: Net(lambda self, x: torch.fft.rfft(x).abs()), "aten._fft_r2c"),
        (
            lambda: nn.Sequential(
                Net(lambda self, x: torch.cdist(x, x)[:, :3] + torch.fft.fft(x).abs())
            ),
            "aten._cdist_forward.default in '0'; aten._fft_r2c",
        ),
        (lambda: Net(by_values), "decides by values"),
        (lambda: Net(lambda self, x: Own.apply(self.f(x)), f=nn.Linear(3, 2)), "OwnBackward"),
        (lambda: with_buffer(False), "buffer seen moves, but no state_dict"),
        (lambda: Extra(3, 2), "_extra_state, which is neither"),
        (renamed, "parameter bias is not in the state_dict"),
        (hooked, "0 has hooks on its backward"),
        (clipped, "weight has hooks on its gradient"),
        (overlapping, "a and b are views of one memory"),
        (lambda: Net(in_place), "changes what is no buffer"),
        (lambda: nn.Sequential(Net(counting)), "changes 0.calls, which is no buffer"),
        (lambda: Net(clamped, f=nn.Linear(3, 2)), "parameter mutation of 'f.weight'"),
        (lambda: Net(by_autocast, f=nn.Linear(3, 2)), "autocast"),
        (lambda: nn.Linear(4, 2), "fails on the examples: RuntimeError"),
        (lambda: nn.Linear(3, 2).double(), "weight is float64, which does not fit"),
        (lambda: Net(lambda self, x: (x, 3)), "returns ConstantArgument"),
        (lambda: Net(lambda self, x: F.max_pool1d(x, 2, return_indices=True)), "not supported"),
        (lambda: nn.MaxPool1d(2, dilation=2, padding=1), "max-pooling has no dilation"),
        (lambda: nn.LSTM(3, 2, proj_size=1), "no projections"),
        (lambda: nn.LazyLinear(3), "weight has no values yet"),
        (lambda: torch.jit.trace(nn.Linear(3, 2), X), "TopLevelTracedModule"),
    ],
    ids=map(str, range(23)),
)
def test_what_cannot_be_trained_as_torch_does_is_refused_by_name(module, named, recwarn):
    with pytest.raises(et.ModelError, match=named):
        et.torch_module(module(), X)


@pytest.mark.parametrize(
    ("examples", "named"),
    [((), "no example"), ((3,), "example 0 is a int"), ((X, "x"), "example 1 is a str")],
    ids=["none", "number", "text"],
)
def test_examples_are_arrays(examples, named):
    with pytest.raises(et.ModelError, match=named):
        et.torch_module(nn.Linear(3, 2), *examples)


def test_types_that_do_not_fit_are_named():
    module = nn.Linear(3, 2).double()
    with pytest.raises(et.ModelError, match="weight is float64, which does not fit"):
        et.torch_module(module, X.double())
    module = with_buffer(True)
    module.seen = torch.tensor(2**40)
    with pytest.raises(et.ModelError, match="seen is int64, which does not fit int32"):
        et.torch_module(module, torch.arange(3))


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: (self.f(x).double() * 2).float(),
        lambda self, x: self.f(x).sum(0, dtype=torch.float64),
        lambda self, x: self.f(x).to(torch.complex128).abs(),
    ],
    ids=["between", "sum", "complex"],
)
def test_64_bits_within_the_forward_pass_are_not_rounded_in_silence(forward):
    with pytest.raises(
        et.ModelError, match=r"in 64 bits, which would lose digits: aten\..*(128|64)\."
    ):
        et.torch_module(Net(forward, f=nn.Linear(3, 2)), X)


def test_integers_of_64_bits_within_the_forward_pass_are_taken():
    model = et.torch_module(Net(lambda self, x: x * x.argmax(1)[:, None].long()), X)
    np.testing.assert_allclose(model(X.numpy()), X * X.argmax(1)[:, None], 1e-6)


def test_torch_prints_no_graph_beside_the_error(capfd):
    with pytest.raises(et.ModelError, match="decides by values"):
        et.torch_module(Net(by_values), X)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ((), "got 0 inputs; its examples were 1"),
        ((jnp.ones((2, 4)),), r"shape \(2, 4\); expected \(s\d+, 3\)"),
        ((jnp.ones(3),), "has shape"),
        ((jnp.ones((2, 3), int),), "is int32; in the example it was float32"),
    ],
    ids=["none", "features", "axes", "integers"],
)
def test_inputs_are_like_the_examples(inputs, named, model):
    with pytest.raises(et.RuleError, match=named):
        model(*inputs)


def test_a_module_that_takes_so_many_samples_only():
    module = Net(lambda self, x: self.f(x) if x.shape[0] <= 10 else -x, f=nn.Linear(3, 3))
    with pytest.raises(et.RuleError, match="got 20 samples; it takes 0 to 10"):
        et.torch_module(module, X)(jnp.ones((20, 3)))


def test_one_value_a_channel_and_modules_in_evaluation_do_not_train(model):
    with pytest.raises(et.RuleError, match="more than one value per channel"):
        moved(model, X[:1].numpy())
    with pytest.raises(et.RuleError, match=r"call module.train\(\)"):
        moved(et.torch_module(nn.Linear(3, 2).eval(), X), X.numpy())


def test_several_members_do_not_go_back_as_one(model):
    members = jax.tree.map(lambda one: jnp.stack([one, one]), model)
    with pytest.raises(et.ModelError, match="take one of its members"):
        members.state_dict()
