"""`lowlight enhance --cluster` without Ray: what is refused, what is left to do, what a worker does and says."""

import importlib.util
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import files, photo
from typer.testing import CliRunner

from lowlight import checkpoints
from lowlight.cli import app
from lowlight.cluster import actors
from lowlight.cluster.actors import Crew
from lowlight.cluster.manifest import Record
from lowlight.cluster.rounds import Outcome
from lowlight.cluster.stores import Store
from lowlight.commands import cluster_worker, on_cluster
from lowlight.commands.enhancing import Request
from lowlight.commands.jobs import Job, PlanError
from lowlight.commands.raw_options import RawOptions

pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="no pyarrow: pip install 'lowlight-ext[cluster]'"
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(on_cluster, "check_ray", lambda: None)

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["enhance", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result, " ".join(result.stderr.replace("│", " ").split())

    return invoke


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "out", "--devices", "cpu,cpu"], "--devices is for one machine"),
        (["-o", "out", "--device", "cuda:1"], "--device is cpu or cuda with --cluster, got cuda:1"),
        (["-o", "out", "--engine", "auto"], "with --cluster name the engine"),
        ([], "--cluster needs an output folder, --output"),
    ],
)
def test_options_that_do_not_fit(run, options, message):
    photo("in/a.png")
    result, said = run("in", "--cluster", "auto", *options)
    assert result.exit_code == 2
    assert message in said
    assert files(".") == ["in/a.png"]


@pyarrow
def test_one_file_is_no_folder(run):
    photo("a.png")
    result, said = run("a.png", "-o", "b.png", "--cluster", "auto")
    assert result.exit_code == 2
    assert "--cluster needs an output folder, and b.png is a file's name" in said


@pyarrow
def test_rays_client_is_refused(run):
    photo("in/a.png")
    result, said = run("in", "-o", "out", "--cluster", "ray://there:10001")
    assert result.exit_code == 2
    assert "`ray job submit`" in said or "needs ray" in said
    result, said = run("in", "-o", "out", "--cluster", "there")
    assert result.exit_code == 2
    assert "--cluster takes auto or HOST:PORT, got there" in said or "needs ray" in said
    assert files(".") == ["in/a.png"]


def test_without_ray(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    photo("in/a.png")
    monkeypatch.setattr(actors, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["enhance", "in", "-o", "out", "--cluster", "auto"])
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "a cluster needs ray: pip install 'lowlight-ext[cluster]', where Ray has wheels for this Python" in said
    assert not Path("out").exists()


def mission(**changes):
    return on_cluster.Mission("auto", 1, Request(**changes), "out", None)


def enhanced(job, **changes):
    """Its line, as a run writes it."""
    record = Record(Store("out"), {})
    one = mission(**changes)
    one.left([job], False)
    record.add(one._pictures[job], one._options, {"status": "enhanced"})
    record.close()


@pyarrow
def test_what_is_left_to_do(run):
    jobs = [Job(Path(f"in/{n}.png"), Path(f"out/{n}.png")) for n in range(4)]
    for job in jobs:
        photo(job.source)
        photo(job.target)
    assert mission().left(jobs, False) == ([], ["4 of the results are there and in no manifest, and stay as they are"])
    for job in jobs:
        enhanced(job)
    assert mission().left(jobs, False) == ([], [])
    assert mission(device="cpu").left(jobs, False) == ([], [])
    assert mission().left(jobs, True) == (jobs, [])
    jobs[1].target.unlink()
    photo(jobs[2].source, 200, (9, 9))
    said = "1 of the results are made anew: their sources or the options are others than before"
    assert mission().left(jobs, False) == (jobs[1:3], [said])
    assert mission(seed=1).left(jobs, False) == (jobs, [said.replace("1 of", "3 of")])
    # a model's file is what is in it
    for content in (b"one", b"two"):
        Path("model.safetensors").write_bytes(content)
        assert mission(model="model.safetensors").left(jobs[:1], False)[0] == jobs[:1]
        enhanced(jobs[0], model="model.safetensors")
        assert mission(model="model.safetensors").left(jobs[:1], False) == ([], [])
    Path("model.safetensors").write_bytes(b"one")
    assert mission(model="model.safetensors").left(jobs[:1], False)[0] == jobs[:1]


@pyarrow
def test_workers_find_files_by_their_whole_names(run):
    for name in ("model.safetensors", "camera.json"):
        Path(name).write_bytes(b"{}")
    one = mission(model="model.safetensors", raw=RawOptions(camera="camera.json", ratio=2.0))
    assert (one._request.model, one._request.raw.camera) == (
        str(Path("model.safetensors").resolve()),
        str(Path("camera.json").resolve()),
    )
    assert mission(raw=RawOptions(camera="ILCE-7SM2"))._request.raw.camera == "ILCE-7SM2"
    assert mission()._request.model == "default"


@pyarrow
def test_an_address_that_cannot_be_had(run):
    result, said = run("in", "-o", "nonsense://there/out", "--cluster", "auto")
    assert result.exit_code == 2
    assert "nonsense://there/out" in said
    with pytest.raises(PlanError, match="nonsense"):
        on_cluster.Mission("auto", 1, Request(), "nonsense://there/out", None)
    result, said = run("memory://nothing/here", "-o", "out", "--cluster", "auto")
    assert result.exit_code == 1
    assert "memory://nothing/here: no such file or folder" in said


class Gamma:
    device, dtype, samplers = torch.device("cpu"), torch.float32, ()

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
        if low.shape[-1] == 13:
            raise AssertionError("a mistake in the library")
        return low.sqrt()


@pytest.fixture
def here(run, monkeypatch):
    """As `run`, with one worker in this process in the place of Ray's."""

    def attempt(items, together, words, make, crew):
        work = make()
        for first in range(0, len(items), together):
            block = items[first : first + together]
            for outcome in work([words(item) for item in block]):
                yield Outcome(block[outcome.item], outcome.error, "here", outcome.facts)

    monkeypatch.setattr(checkpoints, "load_system", lambda *_, **__: Gamma())
    monkeypatch.setattr(on_cluster, "joined", lambda address: nullcontext())
    monkeypatch.setattr(on_cluster, "crew_of", lambda cpus, gpus: Crew(1, 1, cpus, 0))
    monkeypatch.setattr(on_cluster, "attempt", attempt)
    before = torch.get_num_threads()
    yield run
    torch.set_num_threads(before)


def photographs(folder, count):
    Path(folder).mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 70, (6, 8, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{folder}/{number:02}.png")


@pyarrow
def test_the_same_words_as_on_one_machine(here):
    photographs("in", 20)
    Path("in/05.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Path("in/notes.txt").write_text("no picture")
    told = ("in", "-o", "one", "--format", "jpg")
    one = here(*told)[0], here(*told, "--overwrite", "-q")[0], here(*told, "--overwrite", "-v")[0]
    told = ("in", "-o", "two", "--format", "jpg", "--cluster", "auto")
    two = here(*told)[0], here(*told, "--overwrite", "-q")[0], here(*told, "--overwrite", "-v")[0]
    for alone, many in zip(one, two, strict=True):
        assert alone.exit_code == many.exit_code == 1
        assert alone.stdout == many.stdout
        said = [
            line for line in many.stderr.replace("two/", "one/").splitlines() if not line.startswith("Ray: 1 worker")
        ]
        # the broken one's comes last, after its second try
        assert sorted(seconds(said)) == sorted(seconds(alone.stderr.splitlines()))
    assert "Ray: 1 worker on 1 machine" in two[0].stderr
    assert "Ray" not in two[1].stderr
    assert len(files("one")) == 19
    for name in files("one"):
        assert Path("two", name).read_bytes() == Path("one", name).read_bytes()
    result, said = here(*told)
    assert (
        result.stdout
        == "0 pictures enhanced, 19 skipped because their outputs exist (--overwrite replaces them), 1 failed.\n"
    )


def seconds(lines):
    """Without them."""
    return [line.split(" on cpu, ")[0] for line in lines]


@pyarrow
def test_from_and_to_addresses(here, tmp_path):
    """In the memory of this process: fetched and put, results in the store alone, nothing left in temporary folders."""
    photographs("in", 3)
    store = Store(f"memory://{tmp_path}/in")
    for name in files("in"):
        store.write(f"sub/{name}", Path("in", name).read_bytes())
    store.write("sub/x.txt", b"no picture")
    here("in", "-o", "one", "--format", "jpg")
    result, said = here(
        store.address, "-r", "-o", store.address + "/out", "--cluster", "auto", "--format", "jpg", "--json"
    )
    assert result.exit_code == 0, said
    out = Store(store.address + "/out")
    made = {name.removeprefix("sub/"): out.read(name) for name in out.entries() if name.startswith("sub")}
    assert made == {name: Path("one", name).read_bytes() for name in files("one")}
    *rows, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["source"]: row["target"] for row in rows} == {
        f"{store.shown}/sub/{n:02}.png": f"{out.shown}/sub/{n:02}.jpg" for n in range(3)
    }
    assert last["summary"]["passed_over"] == {".txt": 1}
    assert files(".") == [*(f"in/{n:02}.png" for n in range(3)), *(f"one/{n:02}.jpg" for n in range(3))]
    # what is below the output is no input, and nothing hidden
    store.write("sub/.trash/a.png", store.read("sub/00.png"))
    result, _ = here(
        store.address, "-r", "-o", store.address + "/out", "--cluster", "auto", "--format", "jpg", "--json"
    )
    assert [json.loads(line).get("status") for line in result.stdout.splitlines()] == ["skipped"] * 3 + [None]
    # one picture by its own name
    result, _ = here(f"{store.address}/sub/01.png", "-o", "single/", "--cluster", "auto", "--format", "jpg")
    assert result.exit_code == 0
    assert Path("single/01.jpg").read_bytes() == made["01.jpg"]


@pyarrow
def test_a_foreign_error_is_its_pictures_own(here):
    """And the pictures that a worker holds beside it are done in another round."""
    photographs("in", 20)
    Image.new("RGB", (13, 8), (9, 9, 9)).save("in/07.png")
    result, said = here("in", "-o", "out", "--cluster", "auto")
    assert result.exit_code == 1
    assert "in/07.png: AssertionError: a mistake in the library" in said
    assert [name for name in files("out") if name.endswith(".png")] == [f"{n:02}.png" for n in range(20) if n != 7]


@pyarrow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda patch: patch.setattr(Store, "stamp", lambda self, name: None), "out is not the same folder here as on"),
        (lambda patch: patch.setattr(cluster_worker, "version", lambda: "9"), "this machine has a lowlight-ext 9, and"),
    ],
)
def test_a_worker_that_would_do_harm_ends_the_run(here, monkeypatch, change, message):
    photographs("in", 3)
    change(monkeypatch)
    result, said = here("in", "-o", "out", "--cluster", "auto")
    assert result.exit_code == 2
    assert message in said
    assert [name for name in files("out") if not name.startswith("manifest/")] == []


@pyarrow
def test_a_model_that_cannot_be_loaded_ends_the_run(here):
    photographs("in", 3)
    result, said = here("in", "-o", "out", "--cluster", "auto", "--sampler", "nonsense")
    assert result.exit_code == 2
    assert "--sampler must be one of" in said
