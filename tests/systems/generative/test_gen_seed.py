"""Every code block of the seed runs as printed, but for its imports and what it leaves open.

The seed's text lies beside the checkout; without it, the programs of the documentation are run.
"""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from etude.systems import generative

SEEDS = Path(__file__).parents[4] / "shared" / "seeds"
#: What the blocks take for granted: a training of their own is short.
CHANGES = {
    "num_epochs=100": "num_epochs=2",
    "(28, 28, 1)": "(4, 4, 1)",
    "warmup_steps=1000": "warmup_steps=2",
}
IMPORT = re.compile(r"^from artifex\.[\w.]+ import", re.MULTILINE)


def blocks():
    found = sorted(SEEDS.glob("004_*.txt"))
    if not found:
        return []
    return re.findall(r"```python\n(.*?)```", found[0].read_text(encoding="utf-8"), re.DOTALL)


def parsed(block):
    try:
        return compile(block, "seed", "exec")
    except SyntaxError:  # a signature
        return None


# A store that is slow to close on a busy machine is not what is tested here.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:WandbLogger")
@pytest.mark.skipif(not blocks(), reason="the seed's text is not beside this checkout")
def test_the_blocks_of_the_seed_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    images = np.asarray(jax.random.bernoulli(jax.random.key(0), 0.4, (130, 4, 4, 1)), np.float32)
    labels = np.arange(130) % 10

    def train_loader():
        return ({"images": images[i : i + 10], "labels": labels[i : i + 10]} for i in (0, 10))

    data = {"images": images, "labels": labels}
    config = generative.ModelConfig(
        model_class="VAE", input_dim=(4, 4, 1), hidden_dims=(8,), output_dim=2
    )
    names = {
        "model": generative.create_model(config, 0),
        "train_loader": train_loader,
        "val_loader": train_loader,
        "val_data": data,
        "test_data": data,
        "train_data": data,
        "images": images,
        "labels": labels,
        "val_images": images,
        "val_labels": labels,
        "num_epochs": 1,
        "scheduler_config": generative.SchedulerConfig(scheduler_type="constant"),
    }
    names["model_params"] = {"w": np.ones(2, np.float32)}
    ran, first = 0, None
    for block in blocks():
        source = IMPORT.sub("from etude.systems.generative import", block)
        for printed, short in CHANGES.items():
            source = source.replace(printed, short)
        code = parsed(source)
        if code is None or "DistributedTrainer" in source:
            continue
        # One block's trainer has a loss for another model, and no data.
        first = first or names.get("trainer")
        names["trainer"] = first
        if "load_checkpoint(" in source:
            names["trainer"].save_checkpoint("./checkpoints/checkpoint_5000.pkl")
        if "on_batch_end" in source:
            with pytest.warns(UserWarning, match="slow"):
                exec(code, names)
        else:
            exec(code, names)
        ran += 1
    assert ran >= 20
    assert names["samples"].shape == (16, 4, 4, 1)
    assert (tmp_path / "checkpoints" / "vae" / "best_model").is_dir()
