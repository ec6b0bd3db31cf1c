"""A folder through `lowlight enhance`: read, computed and written at once, as if it were one after another."""

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import files, photo, process, value
from typer.testing import CliRunner

from lowlight import checkpoints
from lowlight.cli import app
from lowlight.commands import pipeline, terminal, workers
from lowlight.commands.jobs import Job
from lowlight.commands.pipeline import AHEAD, BEHIND, Opened, run_all
from lowlight.files import atomic
from lowlight.systems import brighten


class Gamma:
    device, dtype, samplers = torch.device("cpu"), torch.float32, ()

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
        return low.sqrt()


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "load_system", lambda *_, **__: Gamma())

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["enhance", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def photographs(folder, count=12):
    """Of several sizes, formats and depths, every third one another picture."""
    Path(folder).mkdir()
    random = np.random.default_rng(0)
    for i in range(count):
        pixels = random.integers(0, 70, (20 + 7 * (i % 4), 24 + 5 * (i % 3), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(Path(folder) / f"{i:02}.{('jpg', 'png', 'tif', 'webp')[i % 4]}")


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def jobs_of(count):
    return [Job(Path(f"{i}.png"), Path(f"out/{i}.png")) for i in range(count)]


def test_the_same_bytes_and_order_as_one_after_another(run, monkeypatch):
    photographs("in")
    Path("in/05.png").write_bytes(Path("in/01.png").read_bytes()[:200])
    at_once = run("in", "-o", "a", "--json")
    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", lambda *_, **__: pipeline._Here())
    assert at_once.exit_code == run("in", "-o", "b").exit_code == 1
    assert bytes_of("a") == bytes_of("b")
    assert len(bytes_of("a")) == 11
    names = [Path(line["source"]).name for line in lines(at_once)[:-1]]
    assert names == sorted(path.name for path in Path("in").iterdir())
    # an image that comes after the broken one is not told its reason
    assert [line["source"] for line in lines(at_once)[:-1] if "error" in line] == ["in/05.png"]


def test_json_lines(run):
    photographs("in", 3)
    photo("out/00.jpg", 99)
    Path("in/notes.txt").write_text("no picture")
    Path("in/zz.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGBA", (4, 4), (9, 9, 9, 128)).save("alpha.png")
    result = run("in", "missing.png", "-o", "out", "--json")
    assert result.exit_code == 1
    *rows, last = lines(result)
    assert [(row["source"], row["status"]) for row in rows] == [
        ("missing.png", "failed"),
        ("in/00.jpg", "skipped"),
        ("in/01.png", "enhanced"),
        ("in/02.tif", "enhanced"),
        ("in/zz.png", "failed"),
    ]
    assert rows[0]["error"] == "no such file or folder"
    assert rows[2].items() >= {"target": "out/01.png", "width": 29, "height": 27, "device": "cpu", "notes": []}.items()
    assert 0 < rows[2]["seconds"] < 10
    assert rows[4]["error"]
    expected = {"enhanced": 2, "skipped": 1, "failed": 2, "passed_over": {".txt": 1}, "interrupted": False}
    assert last["summary"].items() >= expected.items()
    (row, _) = lines(run("alpha.png", "-o", "alpha.jpg", "--json"))
    assert "transparency laid over white" in row["notes"][0]


def test_quiet_and_verbose(run):
    photographs("in", 2)
    Path("in/zz.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    quiet = run("in", "-o", "quiet", "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (1, "")
    assert quiet.stderr.splitlines()[0] == "Failed:"
    assert [line.split(":")[0].strip() for line in quiet.stderr.splitlines()[1:]] == ["in/zz.png"]
    assert run("in/00.jpg", "-o", "quiet/", "-q").output == ""
    told = run("in", "-o", "told", "-v").stderr
    assert "in/00.jpg: 24 x 20, wavelet-anchored-small on cpu, 0." in told
    assert "s, told/00.jpg" in told
    assert run("in", "-o", "x", "-q", "-v").exit_code == 2
    # in JSON, only the failed one, and the sums
    assert [row.get("status") for row in lines(run("in", "-o", "y", "--json", "-q"))] == ["failed", None]


def test_progress_off_a_terminal_is_a_line_a_minute(run, monkeypatch):
    photographs("in", 8)
    assert "left" not in run("in", "-o", "a").stderr
    clock = iter(range(0, 100000, 25))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    said = [line for line in run("in", "-o", "b").stderr.splitlines() if line.endswith("left")]
    assert 1 <= len(said) <= 7
    assert all(" of 8, " in line for line in said)
    assert "left" not in run("in", "-o", "c", "-q").stderr


def test_progress_before_the_first_is_done(monkeypatch, capsys):
    """An engine makes its graphs, which takes minutes, before the first frame; what was there counts as done."""
    clock = iter(range(0, 100000, 100))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    with terminal.progress_bar(3) as bar:
        bar.reach(0, 3)
        bar.reach(1, 3)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["0 done", "1 of 3"]


def test_a_full_disk_is_each_pictures_own_failure(run, monkeypatch):
    photographs("in", 6)
    whole, count = atomic.os.replace, Counter()

    def replace(source, target):
        count["files"] += 1
        if count["files"] in (3, 4):
            raise OSError(28, "No space left on device")
        whole(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    result = run("in", "-o", "out")
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if "no space left" in line] == [
        "  in/02.tif: out/02.tif cannot be written: no space left on device",
        "  in/03.webp: out/03.webp cannot be written: no space left on device",
    ]
    assert "4 pictures enhanced, 2 failed." in result.stdout
    # whole files alone, and the same command does the rest
    assert files("out") == ["00.jpg", "01.png", "04.jpg", "05.png"]
    assert "2 pictures enhanced, 4 skipped" in run("in", "-o", "out").stdout


def test_a_folder_that_takes_nothing_is_known_before_the_work(run, monkeypatch):
    photographs("in", 2)
    Path("out").write_text("a file")
    computed = []
    monkeypatch.setattr(brighten, "enhance_picture", lambda *_, **__: computed.append(1))
    result = run("in", "-o", "out/deep/er")
    assert result.exit_code == 1
    folder = Path("out").absolute()
    assert f"  in/00.jpg: out/deep/er/00.jpg cannot be written: {folder} is not a folder\n" in result.stderr
    monkeypatch.setattr(atomic.os, "access", lambda path, mode: Path(path) != Path("locked").absolute())
    Path("locked").mkdir()
    result = run("in", "-o", "locked/out")
    assert "locked/out/01.png cannot be written: nothing may be written in " in result.stderr
    assert not computed


class Flight:
    """Counts what is read and not yet written; a network or a disk that takes its time."""

    def __init__(self, width=10, height=10, slow_network=0.0, slow_disk=0.0):
        self.size, self.slow = (width, height), (slow_network, slow_disk)
        self.now = self.most = 0
        self.lock = threading.Lock()

    def count(self, change):
        with self.lock:
            self.now += change
            self.most = max(self.most, self.now)

    def read(self, job):
        self.count(1)

        def compute():
            time.sleep(self.slow[0])

            def write():
                time.sleep(self.slow[1])
                self.count(-1)
                return ()

            return write

        return Opened(*self.size, "model", "cpu", compute)


@pytest.mark.parametrize("slow", [{"slow_network": 0.02}, {"slow_disk": 0.02}])
def test_few_pictures_are_in_memory(slow):
    flight, reports = Flight(**slow), []
    run_all(jobs_of(30), flight.read, reports.append)
    assert [report.source for report in reports] == [f"{i}.png" for i in range(30)]
    # one is read, one computed and one written beside those that wait
    assert 2 <= flight.most <= AHEAD + BEHIND + 3
    assert flight.now == 0


@pytest.mark.parametrize(("side", "most"), [(8000, 1), (5000, 2), (4000, 2), (3000, 4)])
def test_large_pictures_wait_for_room(side, most):
    """64, 25, 16 and 9 megapixels: no further one is read while there are 32 in memory."""
    flight = Flight(side, side, slow_network=0.01, slow_disk=0.01)
    run_all(jobs_of(8), flight.read, lambda report: None)
    assert flight.most <= most


def test_one_after_another_where_that_is_asked():
    flight, threads = Flight(), set()

    def report(one):
        threads.add(threading.current_thread())

    run_all(jobs_of(5), flight.read, report, overlap=False)
    assert flight.most == 1
    assert threads == {threading.current_thread()}


def test_what_takes_reports_may_fail():
    """A closed pipe: it ends the run, at once, and no thread is left."""
    flight, before = Flight(), threading.active_count()

    def report(one):
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        run_all(jobs_of(1000), flight.read, report)
    assert flight.most < 20
    assert threading.active_count() == before


def test_ctrl_c_writes_what_was_computed_and_reads_no_more():
    """Also where the reader waits for room that nobody will give back."""
    flight, reports, before = Flight(8000, 8000, slow_disk=0.05), [], threading.active_count()

    def interrupted():
        # until the reader waits, for what is in here
        time.sleep(0.3)
        raise KeyboardInterrupt

    def read(job):
        opened = flight.read(job)
        return opened._replace(compute=interrupted) if job.source.name == "3.png" else opened

    with pytest.raises(KeyboardInterrupt):
        run_all(jobs_of(20), read, reports.append)
    assert [(report.source, report.status) for report in reports] == [(f"{i}.png", "enhanced") for i in range(3)]
    assert threading.active_count() == before


def test_a_foreign_error_is_not_taken_for_a_pictures():
    def read(job):
        raise AssertionError("a mistake in the library")

    with pytest.raises(AssertionError, match="a mistake"):
        run_all(jobs_of(3), read, lambda report: None)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("cpu,", "with commas between them"),
        ("cpu,nonsense", "no such device 'nonsense'"),
        ("all", "every GPU, and torch"),
        ("cuda:0,cuda:1", "sees no GPU"),
    ],
)
def test_devices_that_are_not_there(run, devices, message):
    if torch.cuda.is_available() and devices != "cpu,":
        pytest.skip("there is a GPU")
    photographs("in", 2)
    result = run("in", "-o", "out", "--devices", devices)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not Path("out").exists()


def test_device_and_devices_contradict_each_other(run):
    photographs("in", 2)
    assert run("in", "-o", "out", "--device", "cpu", "--devices", "cpu,cpu").exit_code == 2
    assert run("in", "-o", "out", "--devices", "cpu").exit_code == 0


MAIN = "from lowlight.cli import main; main()"


def test_two_workers_give_the_bytes_of_one(tmp_path):
    photographs(tmp_path / "in", 7)
    (tmp_path / "in/03.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    told = ("enhance", "in", "--json", "--device", "cpu", "-o", "one"), (
        "enhance", "in", "--json", "--devices", "cpu,cpu", "-o", "two",
    )  # fmt: skip
    rows = []
    for arguments in told:
        # one thread: another number may round otherwise
        running = process("import torch; torch.set_num_threads(1)\n" + MAIN, *arguments, cwd=tmp_path)
        output, errors = running.communicate(timeout=300)
        assert running.returncode == 1, errors
        rows.append([json.loads(line) for line in output.splitlines()])
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert len(bytes_of(tmp_path / "one")) == 7
    statuses = [{row["source"]: row["status"] for row in found[:-1]} for found in rows]
    assert statuses[0] == statuses[1]
    assert Counter(statuses[1].values()) == {"enhanced": 7, "failed": 1}


def test_workers_refuse_before_the_first_picture(tmp_path):
    photographs(tmp_path / "in", 3)
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    arguments = ("enhance", "in", "-o", "out", "--devices", "cpu,cpu", "-m", "broken.safetensors")
    running = process(MAIN, *arguments, cwd=tmp_path)
    errors = running.communicate(timeout=300)[1]
    assert running.returncode == 2
    assert "broken.safetensors" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


class _Dying:
    """A worker's connection and process, which end after so many reports."""

    def __init__(self, after):
        self.jobs, self.after, self.exitcode = [], after, -9

    def send(self, job):
        self.jobs.append(job)

    def recv(self):
        if not self.after or self.jobs[0] is None:
            raise EOFError
        self.after -= 1
        job = self.jobs.pop(0)
        return pipeline.Report(str(job.source), str(job.target), "enhanced")

    def join(self, seconds):
        pass


@pytest.mark.parametrize("second", [1000, 1])
def test_a_worker_that_dies_takes_only_its_own_with_it(monkeypatch, second):
    monkeypatch.setattr(workers, "wait", lambda connections: connections)
    crew = [
        workers._Worker(f"cuda:{i}", end, end)
        for i, end in enumerate((_Dying(2), _Dying(second)))
    ]  # fmt: skip
    reports = []
    workers._hand_out(crew, workers.deque(jobs_of(40)), reports.append)
    assert sorted(int(report.source.split(".")[0]) for report in reports) == list(range(40))
    failed = [report for report in reports if report.status == "failed"]
    lost = [report for report in failed if report.error == "the worker on cuda:0 ended (exit code -9)"]
    assert len(lost) == workers._FLYING
    assert len(failed) == (len(lost) if second > 1 else 37)
    assert second > 1 or failed[-1].error.startswith("no worker is left: the worker on cuda:0 ended")


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_with_workers(tmp_path):
    for i in range(400):
        photo(tmp_path / f"in/{i:03}.png", size=(64, 48))
    running = process(MAIN, "enhance", "in", "-o", "out", "--devices", "cpu,cpu", cwd=tmp_path)
    deadline = time.monotonic() + 200
    while len(list(tmp_path.glob("out/*.png"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=100)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    done = files(tmp_path / "out")
    assert 3 <= len(done) < 400
    assert f"{len(done)} pictures enhanced" in output
    assert all(value(tmp_path / "out" / name) >= 0 for name in done)
