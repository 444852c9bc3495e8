"""Every name of the seed has an entry in the table, and every entry resolves."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/coming_from/seed_003.md").read_text("utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| there"))
]
NAMES = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[1])})
NAMED = """
    SequentialOrchestrator SequentialOrchestrator.layers SequentialOrchestrator.step
    SequentialOrchestrator.step_inference SequentialOrchestrator.predict
    SequentialOrchestrator.backward LayerMap LayerMap.from_dict SequentialState
    SequentialState.init FullyConnected FrozenFullyConnected RecurrentDiscrete OutputLayer
    PrototypeData PrototypeData.RAND_THRESHOLD PrototypeData.__iter__
    PrototypeData._create_prototypes PrototypeData._create_data batch_accuracy
    print_state_summary update run_dynamics_training run_dynamics_inference train_step eval_step
    history T_TRAIN T_EVAL EPOCHS DIM_DATA DIM_HIDDEN NUM_LABELS NUM_DATA BATCH_SIZE P_NOISE
    THRESHOLD_IN THRESHOLD_J THRESHOLD_OUT STRENGTH_BACK STRENGTH_FORTH J_D
    bionet.orchestrators.sequential bionet.modules.fully_connected bionet.modules.recurrent
    bionet.modules.input_output bionet.layer_maps.sparse bionet.states.sequential
"""


def test_every_name_of_the_seed_is_in_the_table():
    listed = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])}
    assert not set(NAMED.split()) - listed


@pytest.mark.parametrize("name", NAMES)
def test_entry_resolves(name, monkeypatch):
    home, *path = name.split(".")
    if home == "et":
        found = importlib.import_module("etude")
    elif home == "example":
        monkeypatch.syspath_prepend(str(ROOT / "examples"))
        found = importlib.import_module("attractor_tutorial")
    else:
        found, path = importlib.import_module("etude.systems.attractor"), [home, *path]
    for part in path:
        fields = getattr(found, "__dataclass_fields__", {})
        found = fields[part] if part in fields else getattr(found, part)
