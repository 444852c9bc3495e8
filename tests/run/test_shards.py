"""Arrays are written shard by shard, and come back to the same bits on any other sharding."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P

from etude.engine.named_arrays import expected, from_named, named
from etude.errors import CheckpointError
from etude.run.checkpoints import CheckpointStore, HostArray

MESH = jax.make_mesh((2,), ("x",))  # tests have two fake devices
HALVES, COPIES = NamedSharding(MESH, P("x")), NamedSharding(MESH, P())


def saved(folder, arrays):
    store = CheckpointStore(folder)
    store.save("a", arrays, {})
    store.wait()
    return store


def manifest(folder):
    return json.loads((folder / "a" / "manifest.json").read_text())


def test_each_shard_is_stored_once_and_by_itself(tmp_path):
    values = jnp.arange(8.0).reshape(4, 2)
    arrays = {"halves": jax.device_put(values, HALVES), "copies": jax.device_put(values, COPIES)}
    store = saved(tmp_path, arrays)
    entries = manifest(tmp_path)["arrays"]
    assert [s["index"] for s in entries["halves"]["shards"]] == [[[0, 2], [0, 2]], [[2, 4], [0, 2]]]
    assert [s["index"] for s in entries["copies"]["shards"]] == [[[0, 4], [0, 2]]]
    restored = store.restore()
    assert [shard.data.shape for shard in restored.leaves["halves"].shards] == [(2, 2), (2, 2)]
    assert all((array == values).all() for array in restored.arrays.values())


def test_a_leaf_is_never_gathered_on_the_host(tmp_path, monkeypatch):
    """Fetching a sharded JAX array as a whole is what must not happen."""
    array = jax.device_put(jnp.arange(8.0), HALVES)
    sizes, convert = [], type(array).__array__

    def watched(self, *args, **kwargs):
        sizes.append(self.shape)
        return convert(self, *args, **kwargs)

    monkeypatch.setattr(type(array), "__array__", watched)
    HostArray.of(array)
    assert set(sizes) <= {(4,)}


def test_what_is_saved_may_be_donated_at_once(tmp_path):
    """A view, as `numpy.asarray` gives on a CPU, would make the next step copy instead."""
    change = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    state = jnp.arange(100_000.0)
    place = state.unsafe_buffer_pointer()
    held = HostArray.of(state)
    assert change(state).unsafe_buffer_pointer() == place
    np.testing.assert_array_equal(held.whole(), np.arange(100_000.0))


def test_every_device_gets_memory_of_its_own(tmp_path):
    """On a CPU, copies of one NumPy array would share it, and donation would overwrite both."""
    store = saved(tmp_path, {"w": np.arange(1000.0, dtype=np.float32)})
    restored = store.restore()
    like = {"w": jax.ShapeDtypeStruct((1000,), jnp.float32, sharding=COPIES)}
    first, second = restored.placed(like)["w"], restored.placed(like)["w"]
    assert isinstance(first, jax.Array)
    pointers = [s.data.unsafe_buffer_pointer() for s in first.addressable_shards]
    assert len(set(pointers)) == 2
    jax.jit(lambda x: x * 0 - 1, donate_argnums=0)(first).block_until_ready()
    np.testing.assert_array_equal(second, np.arange(1000.0))
    np.testing.assert_array_equal(restored.arrays["w"], np.arange(1000.0))


def test_an_abstract_state_that_differs_is_refused_leaf_by_leaf(tmp_path):
    restored = saved(tmp_path, {"w": np.ones(3, np.float32)}).restore()
    like = {"w": jax.ShapeDtypeStruct((4,), jnp.float32), "b": jax.ShapeDtypeStruct((), jnp.int32)}
    with pytest.raises(CheckpointError, match=r"(?s)'b' int32\[\]: missing.*'w': .*float32\[4\]"):
        restored.placed(like)


def test_a_state_returns_to_its_shardings_with_keys_and_weak_scalars(tmp_path):
    state = {
        "w": jax.device_put(jnp.arange(4.0), HALVES),
        "key": jax.device_put(jax.random.key(7), COPIES),
        "free": jnp.ones(2),
        "weak": jnp.asarray(2.0),  # as Python gives it
    }
    restored = saved(tmp_path, named(state)).restore()
    again = from_named(state, restored.placed(expected(state)))
    assert again["w"].sharding == HALVES
    assert again["key"].sharding == COPIES
    assert not again["free"].committed
    assert state["weak"].weak_type
    assert again["weak"].weak_type
    for name in state:
        before, after = named(state), named(again)
        np.testing.assert_array_equal(after[f"['{name}']"], before[f"['{name}']"])


ON_EIGHT_DEVICES = """
import itertools, sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P, SingleDeviceSharding
from etude.run.checkpoints import CheckpointStore

assert jax.device_count() == 8
bits = np.random.default_rng(0).integers(0, 256, (8, 12, 4), np.uint8)
arrays = {"float": bits.view(np.float32)[..., 0], "half": bits.view(jnp.bfloat16)[..., 0],
          "flag": bits[..., 0] > 99, "scalar": np.array(3.5, np.float32), "empty": bits[:0, :, 0]}
grid, line = jax.make_mesh((4, 2), ("a", "b")), jax.make_mesh((8,), ("c",))
few = jax.make_mesh((2,), ("d",), devices=jax.devices()[3:5])
one = SingleDeviceSharding(jax.devices()[5])
layouts = [NamedSharding(grid, P("a", "b")), NamedSharding(grid, P("b")),
           NamedSharding(grid, P(None, "a")), NamedSharding(grid, P(("a", "b"))),
           NamedSharding(line, P("c")), NamedSharding(line, P()), NamedSharding(few, P(None, "d")),
           one, None]

def fit(array, layout):
    return layout if array.ndim == 2 or layout in (one, None) else NamedSharding(layout.mesh, P())

def put(array, layout):
    return array if layout is None else jax.device_put(array, fit(array, layout))

store = CheckpointStore(Path(sys.argv[1]))
for number, layout in enumerate(layouts):
    if number:
        store.remove(store.names()[0])
    store.save(f"from{number}", {k: put(v, layout) for k, v in arrays.items()}, {})
    store.wait()
    restored = store.restore()
    for target in layouts:
        like = {k: jax.ShapeDtypeStruct(v.shape, put(v, layout).dtype,
                                        sharding=None if target is None else fit(v, target))
                for k, v in arrays.items()}
        for name, got in restored.placed(like).items():
            if target is not None:
                assert got.sharding == fit(arrays[name], target), (name, target)
            wanted = np.asarray(put(arrays[name], layout))
            assert np.asarray(got).tobytes() == wanted.tobytes(), (name, layout, target)
print("all equal")
"""


def test_any_sharding_of_eight_devices_gives_the_same_bits_on_any_other(tmp_path):
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT_DEVICES, str(tmp_path / "store")],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "all equal\n"
