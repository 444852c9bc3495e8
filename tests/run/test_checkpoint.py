"""Checkpoints are whole or absent: round trips, every kind of damage, kills, a full disk."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from etude.errors import CheckpointError
from etude.run.checkpoints import CheckpointStore

DTYPES = [
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.bool_,
    np.int8, np.int32, np.int64, np.uint8, np.uint32, np.complex64,
]  # fmt: skip


def store_at(folder: Path, warnings: list[str] | None = None) -> CheckpointStore:
    told = [] if warnings is None else warnings
    return CheckpointStore(folder, on_warning=told.append)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def state(value: int) -> dict[str, np.ndarray]:
    return {"model/w[0]": np.full((40, 30), value, np.float32), "step": np.array(value)}


def two_checkpoints(folder: Path) -> CheckpointStore:
    store = store_at(folder)
    store.save("old", state(1), {"step": 1})
    store.save("new", state(2), {"step": 2})
    store.wait()
    return store


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_returns_bit_for_bit(dtype, tmp_path):
    raw = np.random.default_rng(0).integers(0, 2, (3, 4, np.dtype(dtype).itemsize), np.uint8)
    if dtype is not np.bool_:
        raw = np.random.default_rng(0).integers(0, 256, raw.shape, np.uint8)
    full = raw.view(dtype)[..., 0]  # any bits at all, NaN payloads among them
    arrays = {
        "full": full,
        "scalar": full[0, 0].reshape(()),
        "empty": full[:0],
        "slice": full[:, 1],
    }
    store = store_at(tmp_path)
    store.save("a", arrays, {})
    store.wait()
    restored = store.restore("a").arrays
    assert list(restored) == list(arrays)
    assert all(same_bits(restored[name], arrays[name]) for name in arrays)


@settings(max_examples=15)
@given(
    arrays=st.dictionaries(
        st.text(max_size=12),
        hnp.arrays(
            st.sampled_from([np.float32, np.int16, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=4,
    ),
    meta=st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=2),
            max_leaves=4,
        ),
        max_size=3,
    ),
)
def test_any_leaf_names_and_any_json_return(arrays, meta, tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("any"))
    store.save("a", arrays, meta)
    store.wait()
    restored = store.restore()
    assert restored.meta == meta
    assert restored.arrays.keys() == arrays.keys()
    assert all(same_bits(restored.arrays[name], arrays[name]) for name in arrays)


def test_jax_arrays_are_saved_and_typed_keys_refused(tmp_path):
    store = store_at(tmp_path)
    store.save("a", {"w": jnp.arange(3, dtype=jnp.bfloat16)}, {})
    store.wait()
    assert same_bits(store.restore().arrays["w"], np.arange(3).astype(ml_dtypes.bfloat16))
    with pytest.raises(TypeError, match=r"leaf 'rng'.*jax.random.key_data"):
        store.save("b", {"rng": jax.random.key(0)}, {})


def test_names_are_ordered_by_saving_not_by_name_or_time(tmp_path):
    store = store_at(tmp_path)
    for name in ("z", "m", "a"):
        store.save(name, {}, {})
    store.wait()
    os.utime(tmp_path / "z" / "manifest.json")
    assert store.names() == ["z", "m", "a"]
    store.remove("m")
    store.save("z", {}, {"again": True})
    store.wait()
    assert store_at(tmp_path).names() == ["a", "z"]
    assert store_at(tmp_path).restore().meta == {"again": True}


def test_a_new_save_under_an_old_name_leaves_only_its_own_files(tmp_path):
    store = store_at(tmp_path)
    for value in (1, 2):
        store.save("last", state(value), {})
    store.wait()
    assert sorted(os.listdir(tmp_path / "last")) == ["arrays-000002.bin", "manifest.json"]
    assert store.restore("last").arrays["step"] == 2


def test_meta_is_a_copy(tmp_path):
    store, meta = store_at(tmp_path), {"best": [1.0]}
    store.save("a", state(0), meta)
    meta["best"].append(2.0)
    store.wait()
    assert store.restore().meta == {"best": [1.0]}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, truncate, os.unlink])
def test_damage_to_any_file_is_named_and_the_older_one_used(damage, tmp_path):
    two_checkpoints(tmp_path / "whole")
    newest = tmp_path / "whole" / "new"
    files = [path.relative_to(newest) for path in newest.rglob("*") if path.is_file()]
    assert len(files) == 2
    for number, file in enumerate(files):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", folder)
        if (folder / "new" / file).stat().st_size == 0 and damage is not os.unlink:
            continue
        damage(folder / "new" / file)
        told: list[str] = []
        restored = store_at(folder, told).restore()
        assert restored.name == "old"
        assert same_bits(restored.arrays["model/w[0]"], state(1)["model/w[0]"])
        assert len(restored.skipped) == 1
        assert str(file) in restored.skipped[0]
        assert "'new'" in restored.skipped[0]
        assert told
        with pytest.raises(CheckpointError, match=file.name):
            store_at(folder).restore("new")


def test_a_flip_of_any_manifest_byte_is_seen_or_harmless(tmp_path):
    store = two_checkpoints(tmp_path)
    path = tmp_path / "new" / "manifest.json"
    content = path.read_bytes()
    for position in range(0, len(content), 37):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        restored = store.restore()
        if restored.name == "new":  # white space became other white space
            assert restored.meta == {"step": 2}
            assert restored.arrays["step"] == 2


def test_a_missing_folder_is_passed_over(tmp_path):
    store = two_checkpoints(tmp_path)
    shutil.rmtree(tmp_path / "new")
    assert store.restore().name == "old"
    assert store.restore().skipped == []


def test_a_half_written_save_is_passed_over_and_cleaned_by_the_next(tmp_path):
    store = two_checkpoints(tmp_path)
    for name in ("cut-off", "cut-off-long-ago"):
        (tmp_path / name).mkdir()
    (tmp_path / "cut-off" / "arrays-000004.bin").write_bytes(b"half")
    (tmp_path / "cut-off-long-ago" / "arrays-000003.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "new" / "manifest.json.tmp").write_bytes(b"{")
    (tmp_path / "new" / "arrays-000004.bin").write_bytes(b"half")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")
    assert store.names() == ["old", "new"]
    restored = store.restore()
    assert restored.name == "new"
    assert "'cut-off'" in restored.skipped[0]
    store.save("next", state(3), {})
    store.wait()
    assert sorted(os.listdir(tmp_path)) == ["new", "next", "notes", "old"]
    assert sorted(os.listdir(tmp_path / "new")) == ["arrays-000002.bin", "manifest.json"]
    assert store.restore("new").arrays["step"] == 2


def test_files_of_others_hide_no_checkpoint_and_stay(tmp_path):
    store = two_checkpoints(tmp_path)
    note, half = tmp_path / "new" / ".DS_Store", tmp_path / "half"
    note.write_bytes(b"theirs")
    half.mkdir()
    for name in ("arrays-000007.bin", ".nfs01"):
        (half / name).write_bytes(b"half")
    assert store.names() == ["old", "new"]
    assert store.restore().arrays["step"] == 2
    assert store.find("new") == "new"
    store.save("next", state(3), {})
    store.wait()
    assert (tmp_path / "next" / "arrays-000008.bin").is_file()  # numbers are of all
    assert os.listdir(half) == [".nfs01"]
    store.remove("new")
    assert os.listdir(tmp_path / "new") == [".DS_Store"]
    assert store.names() == ["old", "next"]
    store.save("new", state(4), {})
    store.wait()
    assert store.restore().arrays["step"] == 4
    assert note.read_bytes() == b"theirs"


def test_a_manifest_of_brackets_is_damaged(tmp_path):
    store = two_checkpoints(tmp_path)
    (tmp_path / "new" / "manifest.json").write_bytes(b"[" * 100_000)
    assert store.restore().name == "old"
    assert "manifest.json is damaged: its brackets do not end" in store.restore().skipped[0]


def test_bfloat16_is_read_without_jax(tmp_path):
    store = store_at(tmp_path)
    store.save("one", {"w": np.ones(2, ml_dtypes.bfloat16)}, {})
    store.wait()
    program = (
        "import sys, pathlib; from etude.run.checkpoints import CheckpointStore; "
        "store = CheckpointStore(pathlib.Path(sys.argv[1]), beside_writer=True); "
        "print(store.restore().arrays['w'].dtype, 'jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["bfloat16", "False"]


def test_a_damaged_manifest_is_not_deleted_by_the_next_save(tmp_path):
    store = two_checkpoints(tmp_path)
    flip(tmp_path / "old" / "manifest.json")
    store.save("next", state(3), {})
    store.wait()
    assert (tmp_path / "old" / "arrays-000001.bin").is_file()
    assert store.names() == ["new", "next"]


def test_none_whole_lists_every_reason(tmp_path):
    store = two_checkpoints(tmp_path)
    flip(tmp_path / "new" / "manifest.json")
    (tmp_path / "old" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"(?s)No whole.*'new'.*'old'.*missing"):
        store.restore()
    with pytest.raises(CheckpointError, match="No whole checkpoint"):
        store_at(tmp_path / "nowhere").restore()


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_a_name_that_is_no_text_is_refused(tmp_path):
    store = store_at(tmp_path)
    store.save("step-000100", {}, {})
    store.wait()
    with pytest.raises(CheckpointError, match="as 'step-500'; got 100"):
        store.restore(100)  # pyright: ignore[reportArgumentType]


def test_a_wrong_name_suggests_near_ones(tmp_path):
    store = store_at(tmp_path)
    store.save("step-000100", {}, {})
    store.wait()
    with pytest.raises(CheckpointError, match="There is 'step-000100'"):
        store.restore("step-00100")
    with pytest.raises(CheckpointError, match="to remove"):
        store.remove("..")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b"])
def test_names_that_are_no_folder_names_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="checkpoint name"):
        store_at(tmp_path).save(name, {}, {})


def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path):
    store = store_at(tmp_path)
    with pytest.raises(TypeError, match="leaf 'names' has dtype"):
        store.save("a", {"names": np.array(["a", "b"])}, {})
    with pytest.raises(TypeError, match="meta must be JSON"):
        store.save("a", {}, {"when": object()})
    assert os.listdir(tmp_path) == []


def test_saving_is_quiet_and_leaks_no_thread(tmp_path, capfd, caplog):
    store = store_at(tmp_path)
    megabyte = {f"layer{i}": np.random.default_rng(i).random(8192, np.float32) for i in range(32)}
    for count in range(4):
        store.save(f"warm{count}", megabyte, {})
    store.wait()
    threads = threading.active_count()
    for count in range(8):
        store.save(f"s{count}", megabyte, {})
        store.wait()
    assert threading.active_count() <= threads
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


LOOP = """
import sys
from pathlib import Path
import numpy as np
from etude.run.checkpoints import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]), on_warning=lambda sentence: None)
value = store.restore().meta["value"] if store.names() else 0
while True:
    value += 1
    arrays = {f"leaf{i}": np.full((50, 7 + i), value, np.int32) for i in range(5)}
    name = "last" if value % 3 == 0 else f"v{value}"
    store.save(name, arrays, {"value": value})
    for old in store.names()[:-2]:
        store.remove(old)
    print(value, flush=True)
"""


def test_a_killed_process_leaves_a_whole_checkpoint(tmp_path):
    randomly, known = random.Random(1), 0
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()  # the first save of this life was started
        time.sleep(0.15 * randomly.random())
        child.send_signal(signal.SIGKILL)
        printed = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        restored = store_at(tmp_path).restore()
        value = restored.meta["value"]
        # `names` waits for the save of the value printed after it.
        assert value >= max([known, *map(int, printed)])
        known = value
        assert all(
            np.array_equal(leaf, np.full_like(leaf, value)) for leaf in restored.arrays.values()
        )
        assert len(restored.arrays) == 5
    assert known >= 10


@pytest.fixture
def small_disk(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_explained_and_the_older_checkpoint_survives(small_disk):
    store = store_at(small_disk / "checkpoints")
    store.save("good", state(1), {})
    store.wait()
    noise = np.random.default_rng(0).random(400_000)
    for name in ("big", "good"):
        store.save(name, {"noise": noise}, {})
        with pytest.raises(CheckpointError, match=r"(?s)No space left.*MiB are free.*intact"):
            store.wait()
        store.poll()  # a failure is told once
        assert store.names() == ["good"]
        assert os.listdir(small_disk / "checkpoints") == ["good"]
        assert same_bits(store.restore().arrays["model/w[0]"], state(1)["model/w[0]"])
    store.save("small", state(2), {})
    store.close()
    assert store.restore().name == "small"


def test_poll_tells_a_failure_without_blocking(tmp_path):
    store = store_at(tmp_path)
    (tmp_path / "a").write_text("in the way")
    store.save("a", {}, {})
    failures = []
    for _ in range(100):
        try:
            store.poll()
        except CheckpointError as failure:
            failures.append(str(failure))
        time.sleep(0.005)
    assert len(failures) == 1
    assert "'a' could not be written" in failures[0]
