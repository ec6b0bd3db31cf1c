"""`lowlight enhance --cluster` on three nodes of one machine, of which one dies: the same bytes, each picture once."""

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
from raw_pictures import raw_picture, scene
from test_cli import files, process
from typer.testing import CliRunner

from lowlight.cli import app
from lowlight.cluster.actors import ClusterError, Crew, attempt, crew_of, joined
from lowlight.cluster.rounds import Outcome, in_rounds
from lowlight.raw.dng import write_dng

ray = pytest.importorskip("ray", reason="no ray: pip install 'lowlight-ext[cluster]'")
pytest.importorskip("pyarrow", reason="no pyarrow: pip install 'lowlight-ext[cluster]'")


@pytest.fixture(scope="module")
def nodes():
    """Three of a core each; .address, .kill() one that is not the head."""
    # read when ray is imported and when its processes start
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    told = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    # a machine is given up when it was not heard of for so long
    health = {"health_check_period_ms": 500, "health_check_failure_threshold": 4, "health_check_timeout_ms": 4000}
    cluster = Cluster(initialize_head=True, head_node_args={**told, "_system_config": health})
    others = [cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2)]
    cluster.kill = lambda: cluster.remove_node(others.pop(), allow_graceful=False)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`lowlight enhance ARGUMENTS --json` in an empty folder, with one thread as the workers have: (rows, result)."""
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["enhance", *map(str, arguments), "--json"])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return [json.loads(line) for line in result.stdout.splitlines()], result

    yield invoke
    torch.set_num_threads(before)


def photograph(path, seed=0, depth=8, size=(24, 32), **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 70, (*size, 3), dtype=np.uint8)
    if depth == 16:
        from tifffile import imwrite

        imwrite(path, pixels.astype(np.uint16) * 257 + 3, photometric="rgb")
    else:
        Image.fromarray(pixels).convert(options.pop("mode", "RGB")).save(path, **options)


def photographs(folder):
    """Of all kinds that are treated otherwise: turned, 16 bit, with alpha, raw, broken, and a folder in the folder."""
    exif = Image.Exif()
    exif[274] = 6
    for number in range(12):
        photograph(f"{folder}/{number:02}.{('jpg', 'png', 'webp')[number % 3]}", number)
    photograph(f"{folder}/turned.jpg", 20, exif=exif)
    photograph(f"{folder}/deep.tif", 21, depth=16)
    photograph(f"{folder}/alpha.png", 22, mode="RGBA")
    photograph(f"{folder}/still.gif", 23)
    photograph(f"{folder}/sub/sub/b.png", 24)
    write_dng(f"{folder}/raw.dng", raw_picture((1, 0), (800 + (scene(60, 72) - 800.0) / 50).astype(np.uint16)))
    Path(folder, "broken.png").write_bytes(Path(folder, "01.png").read_bytes()[:200])
    Path(folder, "notes.txt").write_text("no picture")


def results(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.suffix != ".jsonl"
    }


def manifest(folder):
    """(first lines, other lines) of all runs in their order."""
    texts = [path.read_text() for path in sorted(Path(folder, "manifest").iterdir())]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    return [line for line in lines if "run" in line], [line for line in lines if "run" not in line]


def what(rows, drop=("seconds", "target")):
    """Reports by source, without what hangs on the way."""
    return {row["source"]: {k: v for k, v in row.items() if k not in drop} for row in rows if "source" in row}


def once(path, count):
    """Calls back when a folder has so many results."""

    def watch(act):
        deadline = time.monotonic() + 500
        while len(results(path)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        act()

    return watch


def test_a_node_dies_and_a_second_run_does_what_is_missing(run, nodes):
    photographs("in")
    alone, _ = run("in", "-r", "-o", "one", "--device", "cpu", "--format", "png")
    killer = threading.Thread(target=once("many", 4), args=(nodes.kill,))
    killer.start()
    rows, result = run("in", "-r", "-o", "many", "--cluster", nodes.address, "--format", "png")
    killer.join()
    assert result.exit_code == 1
    assert results("many") == results("one")
    assert len(results("many")) == 18
    assert what(rows) == what(alone)
    assert rows[-1]["summary"].items() >= {"enhanced": 18, "failed": 1, "passed_over": {".txt": 1}}.items()
    assert any(row["notes"] for row in rows[:-1])
    assert [row["source"] for row in rows if "error" in row] == ["in/broken.png"]
    ray.init(address=nodes.address, log_to_driver=False)
    assert sum(node["Alive"] for node in ray.nodes()) == 2
    ray.shutdown()

    (first,), lines = manifest("many")
    assert first["options"] == {"model": "default", "told": {"resid": None, "with_photon": None}, "engine": "torch"}
    assert Counter(line["target"] for line in lines) == Counter([*results("many"), "broken.png"])
    (broken,) = [line for line in lines if line["status"] == "failed"]
    assert (broken["target"], broken["bytes"]) == ("broken.png", 200)
    assert broken["error"] == "cannot be decoded (image file is truncated)"
    assert len(set(broken["workers"])) == 2
    assert "died" not in broken["workers"]
    turned = next(line for line in lines if line["target"] == "turned.png")
    source = Path("in/turned.jpg")
    assert turned["source"] == str(source.resolve())
    assert (turned["bytes"], turned["modified"]) == (source.stat().st_size, source.stat().st_mtime_ns)

    # missing, changed, and mended; by an address, which means the same files
    Path("many/00.png").unlink()
    photograph("in/04.png", 99)
    photograph("in/broken.png", 98)
    before = {name: Path("many", name).stat().st_mtime_ns for name in results("many")}
    here = Path.cwd().as_uri()
    rows, result = run(f"{here}/in", "-r", "-o", f"{here}/many", "--cluster", nodes.address, "--format", "png")
    assert result.exit_code == 0
    done = [Path(row["source"]).name for row in rows[:-1] if row["status"] == "enhanced"]
    assert sorted(done) == ["00.jpg", "04.png", "broken.png"]
    assert rows[-1]["summary"].items() >= {"enhanced": 3, "skipped": 16, "failed": 0}.items()
    after = {name: Path("many", name).stat().st_mtime_ns for name in results("many")}
    assert {name for name in after if after[name] != before.get(name)} == {"00.png", "04.png", "broken.png"}
    assert results("many")["00.png"] == results("one")["00.png"]
    run("in/04.png", "in/broken.png", "-o", "fresh", "--device", "cpu")
    assert results("many").items() >= results("fresh").items()
    # all is done: nobody is asked
    rows, result = run("in", "-r", "-o", "many", "--cluster", "127.0.0.1:1", "--format", "png")
    assert result.exit_code == 0
    assert rows[-1]["summary"]["skipped"] == 19


def test_through_a_file_system_of_fsspecs(run, nodes):
    """Fetched, and put under a temporary name; what is below the output is no input."""
    for number in range(3):
        photograph(f"in/{number}.png", number)
    photograph("in/sub/alpha.png", 22, mode="RGBA")
    photograph("in/.hidden/x.png")
    Path("in/broken.png").write_bytes(Path("in/1.png").read_bytes()[:200])
    alone, _ = run("in", "-r", "-o", "one", "--device", "cpu", "--format", "jpg")
    # to pyarrow this is no file system of its own, and so not of this machine
    here = Path.cwd().as_uri().replace("file:", "local:")
    told = (f"{here}/in", "-r", "-o", f"{here}/in/out", "--format", "jpg", "--cluster")
    rows, result = run(*told, nodes.address)
    assert result.exit_code == 1
    assert results("in/out") == results("one")
    assert files("in/out") == sorted([*results("one"), *(f for f in files("in/out") if f.startswith("manifest/"))])
    shown = {source.removeprefix(f"{here}/"): row | {"source": source} for source, row in what(rows).items()}
    assert {source: row["notes"] for source, row in shown.items()} == {r["source"]: r["notes"] for r in alone[:-1]}
    assert shown["in/broken.png"]["error"] == "cannot be decoded (image file is truncated)"
    assert "transparency laid over white" in shown["in/sub/alpha.png"]["notes"][0]
    (first,), lines = manifest("in/out")
    assert first["run"] in next(Path("in/out/manifest").iterdir()).name
    assert Counter(line["target"] for line in lines) == Counter([*results("one"), "broken.jpg"])
    rows, result = run(*told, "127.0.0.1:1")
    assert result.exit_code == 2
    assert "no Ray cluster at 127.0.0.1:1" in " ".join(result.stderr.replace("│", " ").split())


def test_who_kills_its_worker_is_given_up(nodes):
    """Its neighbours in the worker's hands are done by others; who raises is as lost as who dies."""

    def make():
        def work(batch):
            for number, words in enumerate(batch):
                if words == "7":
                    os._exit(1)
                if words == "2":
                    raise RuntimeError("out of luck")
                yield Outcome(number, None, "", {"words": words})

        return work

    crew = Crew(3, 3, 1, 0)
    with joined(nodes.address):
        assert crew_of(1, None) == Crew(*[sum(node["Alive"] for node in ray.nodes())] * 2, 1, 0)
        with pytest.raises(ClusterError, match="a worker shall have 2 cores, and the cluster's largest machine has 1"):
            crew_of(2, False)
        with pytest.raises(ClusterError, match="the cluster has no GPU"):
            crew_of(1, True)
        done = [*in_rounds(12, 2, lambda items, together: attempt(items, together, str, make, crew))]
    assert Counter(outcome.item for outcome, _ in done) == Counter(range(12))
    errors = {outcome.item: (outcome.error, before) for outcome, before in done if outcome.error}
    assert errors == dict.fromkeys([2, 7], ("the worker died while it worked on this", ["died", "died"]))
    assert {outcome.facts["words"] for outcome, _ in done if outcome.error is None} == {
        str(n) for n in range(12) if n not in (2, 7)
    }


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c(run, nodes, tmp_path):
    for number in range(60):
        photograph(f"in/{number:02}.png", number)
    main = "from lowlight.cli import main; main()"
    running = process(main, "enhance", "in", "-o", "out", "--cluster", nodes.address, cwd=tmp_path)
    once("out", 3)(lambda: running.send_signal(signal.SIGINT))
    output, errors = running.communicate(timeout=200)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command goes on from here" in errors
    done = results("out")
    assert 3 <= len(done) < 60
    _, lines = manifest("out")
    assert f"{len(lines)} pictures enhanced" in output
    assert {line["target"] for line in lines} <= done.keys()
    assert not [name for name in done if name.endswith(".part")]
