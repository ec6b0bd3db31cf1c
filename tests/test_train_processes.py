"""`lowlight train` and `lowlight ablate` as processes: two that share a batch, one that is killed."""

import csv
import json
import os
import random
import signal
import time

import pytest
import torch
from train_process import NETWORK, finish, make_pairs, start, write_config
from typer.testing import CliRunner

from lowlight.cli import app
from lowlight.data.batches.batches import PairBatches
from lowlight.training.config_files import load_config
from lowlight.training.curves import read_log
from lowlight.training.loop import Trainer

STAGES = [
    {"iterations": 2, "batch": 2, "crop": 32},
    {"iterations": 3, "batch": 4, "crop": 32, "sampling_steps": 2, "learning_rate": 1e-3},
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def alone(config, pairs, folder):
    """The same training in this process, without a break."""
    settings = load_config(str(config))
    trainer = Trainer(settings, PairBatches(pairs, settings.seed), folder)
    assert trainer.run()
    return trainer


# parts of the system are trained one after the other: of the rest the processes must expect no gradient
ANCHORED = {
    "system": "anlightendiff",
    "network": {"widths": [4, 6, 8]},
    "stages": [
        {"iterations": 2, "batch": 2, "crop": 32, "losses": {"center": ["l1"]}},
        {"iterations": 2, "batch": 4, "crop": 32, "losses": {"diffusion": ["l2"]}},
    ],
}


@pytest.mark.parametrize("settings", [{"network": NETWORK, "stages": STAGES, "recompute": True}, ANCHORED])
def test_two_processes_train_as_one(pairs, tmp_path, one_thread, settings):
    pytest.importorskip("accelerate", reason="needs the extra [train]")
    config = write_config(tmp_path / "tiny.yaml", **settings, warmup=1, log_every=1)
    data = pairs[0].low.parent.parent
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "lowlight")
    both = start("train", config, "--data", data, "-o", tmp_path / "two", "--device", "cpu", launcher=launcher)
    one = alone(config, pairs, tmp_path / "one")
    _, errors = finish(both)
    assert "2 processes share every batch" in errors
    rows, expected = (read_log(tmp_path / name / "log.csv") for name in ("two", "one"))
    assert len(rows) == len(expected) == sum(stage["iterations"] for stage in settings["stages"])
    for row, want in zip(rows, expected, strict=True):
        assert row.keys() == want.keys()
        for name in row.keys() - {"seconds"}:
            assert row[name] == pytest.approx(want[name], rel=1e-4 if name == "grad_norm" else 1e-5), name
    state = torch.load(tmp_path / "two" / "last.pt", weights_only=True)
    for weights, wanted in ((state["model"], one.system.state_dict()), (state["ema"], one.ema)):
        apart = torch.cat([(weights[name] - tensor).abs().flatten() for name, tensor in wanted.items()])
        # Adam makes whole steps of 1e-3 of gradients that are next to nothing, rounding and all: single weights only
        assert apart.max() < 3e-4
        assert apart.mean() < 1e-6


def test_a_killed_training_resumes_to_the_same_bits(pairs, tmp_path):
    stages = [{"iterations": 40, "batch": 2, "crop": 32, "sampling_steps": 1}]
    config = write_config(
        tmp_path / "tiny.yaml", network=NETWORK, stages=stages, log_every=1, checkpoint_every=3, threads=1
    )

    def begin(folder):
        return start("train", config, "--data", pairs[0].low.parent.parent, "-o", folder, "--device", "cpu")

    def weights(folder):
        state = torch.load(folder / "last.pt", weights_only=True)
        return {f"{kind}.{name}": tensor for kind in ("model", "ema") for name, tensor in state[kind].items()}

    victim, last = random.Random().randrange(4, 30), 0
    folder, straight = tmp_path / "killed", tmp_path / "straight"
    running = begin(folder)
    deadline = time.monotonic() + 500
    while last < victim and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.005)
        log = folder / "log.csv"
        last = len(log.read_text().splitlines()) - 1 if log.exists() else 0
    os.kill(running.pid, signal.SIGKILL)
    finish(running, -signal.SIGKILL)
    assert (folder / "last.pt").exists()
    _, errors = finish(begin(folder))
    assert "going on after iteration" in errors, f"killed after iteration {last}"
    assert [row["step"] for row in read_log(folder / "log.csv")] == list(range(1, 41))
    finish(begin(straight))
    apart = differing(weights(folder), weights(straight))
    assert apart == {}, f"killed after iteration {last}"


def differing(weights, others):
    """Name -> largest difference, of those that are not equal bit for bit."""
    unequal = (name for name, tensor in weights.items() if not torch.equal(tensor, others[name]))
    return {name: (weights[name] - others[name]).abs().max().item() for name in unequal}


def test_batches_that_processes_cannot_share(pairs, tmp_path):
    from lowlight.training.processes import Alone

    class Third(Alone):
        rank, count = 2, 3

    config = write_config(tmp_path / "tiny.yaml", network=NETWORK, stages=STAGES)
    with pytest.raises(ValueError, match="multiple of the 3 processes, got 2"):
        Trainer(load_config(str(config)), PairBatches(pairs), tmp_path, processes=Third(torch.device("cpu")))


def command(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_the_command_says_what_is_wrong(pairs, tmp_path):
    data = pairs[0].low.parent.parent
    settings = {"network": NETWORK, "stages": STAGES[:1], "checkpoint_every": 1, "data": str(data)}
    config = write_config(tmp_path / "tiny.yaml", **settings)
    train = ("train", config, "-o", tmp_path / "run", "--device", "cpu")
    assert command(*train)[0] == 0
    code, output = command(*train, "ema=0.5")
    assert code == 2
    assert "ema: 0.999, now 0.5" in output
    code, output = command(*train, "stages.0.iterations=3", "--allow-changes")
    assert code == 0
    assert "going on after iteration 2 of 3" in output
    for wrong, message in (("stages.0.batch=0", "batch must be positive"), ("bach=1", "unknown key bach")):
        code, output = command(*train, wrong)
        assert code == 2
        assert message in output


def test_full_disk_is_one_sentence(pairs, tmp_path, monkeypatch):
    from lowlight.training import loop

    def full(*_):
        raise OSError(28, "last.pt not written: no space left on the disk; the previous checkpoint is intact")

    monkeypatch.setattr(loop, "write_checkpoint", full)
    config = write_config(tmp_path / "tiny.yaml", network=NETWORK, stages=STAGES[:1])
    code, output = command(
        "train", config, "--data", pairs[0].low.parent.parent, "-o", tmp_path / "run", "--device", "cpu"
    )
    assert code == 1
    assert "training stopped" in output
    assert "the previous checkpoint is intact" in output


def test_ablate(pairs, tmp_path, monkeypatch):
    from lowlight.commands import ablate

    data = pairs[0].low.parent.parent
    whole = write_config(tmp_path / "whole.yaml", network=NETWORK, stages=STAGES, log_every=1)
    bare = write_config(tmp_path / "bare.yaml", base=str(whole), **{"network.hfrm": False})
    request = ("ablate", whole, bare, "--data", data, "-o", tmp_path / "out", "--device", "cpu", "--set", "warmup=1")
    code, output = command(*request, "--budget-iterations", 3)
    assert code == 0, output
    assert "5 of the 5 scored pairs are trained on" in output
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert [line.split(" | ")[:2] for line in table[2:]] == [["| whole", "3"], ["| bare", "3"]]
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert float(rows[1]["parameters"]) < float(rows[0]["parameters"])
    assert all(0 < float(row["psnr"]) < 60 and 0 < float(row["ssim_rgb"]) < 1 for row in rows)
    # finished ones are taken as they are
    monkeypatch.setattr(ablate, "run_training", lambda *_: pytest.fail("trained again"))
    assert command(*request, "--budget-iterations", 3)[0] == 0
    code, output = command(*request, "--budget-iterations", 3, "--json", "-q")
    assert [row["config"] for row in json.loads(output)] == ["whole", "bare"]
    assert command(*request, "--budget-iterations", 3, "-q") == (0, "")
    assert (tmp_path / "out" / "table.md").read_text().splitlines() == table
    code, output = command(*request, "--budget-iterations", 4)
    assert code == 2
    assert "another request" in output
    assert command(*request)[0] == 2
    by_side = ("--low", data / "low", "--high", data / "high", "--budget-iterations", 3)
    assert command(*request, *by_side)[0] == 2, "the pairs are named twice"
    assert command(*(word for word in request if word not in ("--data", data)), *by_side)[0] == 0
    # fewer scored pairs are another request too
    assert "another request" in command(*request, "--budget-iterations", 3, "--limit", 2)[1]
