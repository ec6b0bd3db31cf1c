"""A training's folder: one owner, two generations of its state, what a killed process left, what an error saves."""

import csv
import os
import signal
import subprocess
import sys
import zipfile

import pytest
import torch
from train_process import NETWORK, make_pairs

from lowlight.data.batches.batches import PairBatches
from lowlight.files.atomic import sweep, write_atomically
from lowlight.training.config_files import from_dict
from lowlight.training.folder_lock import FolderLock
from lowlight.training.loop import Trainer
from lowlight.training.validation import Validator

STAGES = [{"iterations": 6, "batch": 1, "crop": 32}]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"), 2)


@pytest.fixture
def trainer(pairs, tmp_path):
    def make(validate=False, **changes):
        values = {"network": NETWORK, "stages": STAGES, "warmup": 0, "checkpoint_every": 2, "log_every": 1}
        config = from_dict(values | {"validate_every": 3 * validate} | changes)
        validator = Validator(pairs, 1) if validate else None
        return Trainer(config, PairBatches(pairs, ahead=0), tmp_path, validator=validator)

    return make


def stopped_at(one, step):
    return one.run(stop=lambda: one.step == step)


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_the_state_before_is_there_where_the_last_one_is_not(trainer, tmp_path, harm):
    stopped_at(trainer(), 5)
    last, data = tmp_path / "last.pt", bytearray((tmp_path / "last.pt").read_bytes())
    # a bit amid the weights, which no unpickler would miss
    with zipfile.ZipFile(last) as file:
        data[data.index(file.read(max(file.infolist(), key=lambda part: part.file_size))) + 100] ^= 4
    last.write_bytes(data[: len(data) // 2] if harm == "cut" else data)
    if harm == "gone":
        last.unlink()
    said, again = [], trainer()
    assert again.resume(say=said.append)
    assert again.step == 4
    assert len(said) == 1
    assert said[0].endswith("going on from last.previous.pt, iteration 4")
    assert (tmp_path / "last.damaged.pt").exists() == (harm != "gone")
    assert again.run()
    assert torch.load(last, weights_only=True)["step"] == 6
    assert torch.load(tmp_path / "last.previous.pt", weights_only=True)["step"] == 4


def test_a_damaged_state_alone_is_an_error(trainer, tmp_path):
    stopped_at(trainer(), 1)
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"last\.pt is no checkpoint, or a damaged"):
        trainer().resume()
    assert (tmp_path / "last.pt").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_the_state_is_saved_on_every_error(trainer, tmp_path, monkeypatch, error):
    one = trainer()
    batch = one.data.batch

    def fails(first, count, **options):
        if first == 3:
            raise error("a data set went away")
        return batch(first, count, **options)

    monkeypatch.setattr(one.data, "batch", fails)
    with pytest.raises(error, match="went away"):
        one.run()
    again = trainer()
    assert again.resume()
    assert again.step == 3


def test_a_damaged_picture_is_told_once_and_does_not_end_the_training(tmp_path):
    pairs = make_pairs(tmp_path / "pairs", 3)
    pairs[1].low.write_bytes(pairs[1].low.read_bytes()[:3000])
    config = from_dict({"network": NETWORK, "stages": STAGES})
    said = []
    assert Trainer(config, PairBatches(pairs), tmp_path).run(say=said.append)
    assert [line for line in said if "skipped" in line] == said[:1]
    assert "(1 of 3 now)" in said[0]
    assert "1.png: cannot be decoded" in said[0]


def test_pictures_too_small_are_refused_before_the_start(pairs, tmp_path):
    config = from_dict({"network": NETWORK, "stages": [STAGES[0], {"iterations": 1, "batch": 1, "shrink": 70}]})
    with pytest.raises(ValueError, match="smaller than shrink = 70: 72 x 64"):
        Trainer(config, PairBatches(pairs), tmp_path)


def test_a_half_made_iteration_is_not_saved(trainer, tmp_path, monkeypatch):
    one = trainer()
    average = one._average

    def fails(step):
        if step == 3:
            raise RuntimeError("between the weights and their average")
        average(step)

    monkeypatch.setattr(one, "_average", fails)
    with pytest.raises(RuntimeError):
        one.run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 2


def test_a_row_of_the_validation_is_not_lost(trainer, tmp_path):
    """Stopped in the very iteration after which it is due: the run that goes on makes it up, once."""
    stopped_at(trainer(validate=True), 3)
    for _ in range(2):
        again = trainer(validate=True)
        assert again.resume()
        stopped_at(again, 4)
    again = trainer(validate=True)
    again.resume()
    assert again.run()
    with (tmp_path / "validation.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "6"]


def test_a_file_is_no_folder(pairs, tmp_path):
    path = tmp_path / "mine"
    path.write_text("not a training's")
    config = from_dict({"network": NETWORK, "stages": STAGES})
    with pytest.raises(ValueError, match="mine is a file, and a training leaves a folder"):
        Trainer(config, PairBatches(pairs, ahead=0), path)
    assert path.read_text() == "not a training's"


def test_one_training_a_folder(trainer, tmp_path):
    first, second = trainer(), trainer()
    first.resume()
    for call in (second.resume, second.run):
        with pytest.raises(ValueError, match=rf"goes on, process {os.getpid()} on .*: take another folder"):
            call()
    first.run()
    assert second.resume()


def test_a_killed_process_holds_no_folder(tmp_path):
    code = """if True:
        import sys, time, pathlib
        from lowlight.training.folder_lock import FolderLock
        lock = FolderLock(pathlib.Path(sys.argv[1]))
        lock.acquire()
        print("held", flush=True)
        time.sleep(100)"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        lock = FolderLock(tmp_path)
        with pytest.raises(ValueError, match=f"process {process.pid} on"):
            lock.acquire()
        process.send_signal(signal.SIGKILL)
    lock.acquire()
    lock.release()


def test_leftovers_are_swept(trainer, tmp_path):
    killed = [tmp_path / ".last.pt.0123abcd.part", tmp_path / "samples" / ".0000003.png.0123abcd.part"]
    kept = [tmp_path / ".mine.part", tmp_path / "a.0123abcd.part"]
    for path in killed + kept:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    # somebody else may be writing now
    assert sweep(tmp_path) == 0
    os.utime(killed[0], (0, 0))
    assert sweep(tmp_path) == 1
    killed[0].write_bytes(b"half")
    trainer().resume()
    assert [path.exists() for path in killed + kept] == [False, False, True, True]


def test_a_write_sweeps_its_folder_once(tmp_path):
    old, new = tmp_path / ".a.png.0123abcd.part", tmp_path / ".b.png.0123abcd.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_atomically(tmp_path / "c.png", b"whole")
    assert (old.exists(), new.exists()) == (False, True)


def test_the_one_before_is_kept(tmp_path):
    path, previous = tmp_path / "a", tmp_path / "b"
    for text in (b"1", b"2", b"3"):
        write_atomically(path, text, durable=True, previous=previous)
    assert (path.read_bytes(), previous.read_bytes()) == (b"3", b"2")
    assert len(list(tmp_path.iterdir())) == 2
