"""The command line: what goes where, what is kept, what is skipped, what fails, and how it says so."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import lowlight
from lowlight import checkpoints
from lowlight.cli import app
from lowlight.commands.jobs import PlanError, plan
from lowlight.files.pictures import read_picture


class Gamma:
    """A system with the real interface and an answer one can compute."""

    device = torch.device("cpu")
    dtype = torch.float32

    samplers = ("ddim", "dpm++")

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0, sampler=None):
        return low**0.25 if sampler == "dpm++" else low.sqrt()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs `lowlight ARGUMENTS` in an empty folder, with a gamma curve in the place of a network."""
    monkeypatch.chdir(tmp_path)
    loaded = []

    def load_system(model, *, device=None, dtype=None, resid=None, with_photon=None, engine="torch", precision=None):
        loaded.append((model, device, dtype))
        if model == "broken":
            raise ValueError("no usable weights in broken")
        return Gamma()

    monkeypatch.setattr(checkpoints, "load_system", load_system)

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    invoke.loaded = loaded
    return invoke


def photo(path, value=40, size=(6, 4)):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def value(path):
    return round(float(read_picture(path).rgb[0, 0, 0]) * 255)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_sampler(run):
    photo("dark.png", 40)
    for sampler, expected in (("ddim", 101), ("dpm++", 160)):
        assert run("enhance", "dark.png", "-o", f"{sampler}.png", "--sampler", sampler).exit_code == 0
        assert value(f"{sampler}.png") == expected
    result = run("enhance", "dark.png", "-o", "none.png", "--sampler", "drds")
    assert result.exit_code == 2
    assert "--sampler must be one of ddim, dpm++ with this model, got drds" in " ".join(
        result.stderr.replace("│", " ").split()
    )


def test_one_picture(run):
    photo("dark.png", 40)
    result = run("enhance", "dark.png", "-o", "bright.png")
    assert result.exit_code == 0
    assert value("bright.png") == round((40 / 255) ** 0.5 * 255)
    assert files(".") == ["bright.png", "dark.png"]
    # rich before 15 ends a bar that it does not show with an empty line
    assert result.output.lstrip("\n") == "1 picture enhanced.\n"


@pytest.mark.parametrize("output", ["out", "out/"])
def test_several_pictures_go_into_a_folder(run, output):
    photo("a.png")
    photo("sub/b.jpg")
    assert run("enhance", "a.png", "sub/b.jpg", "-o", output).exit_code == 0
    assert files("out") == ["a.png", "b.jpg"]


def test_folder_recursion_keeps_the_structure(run):
    for name in ("in/a.png", "in/deep/b.tif", "in/deep/er/c.bmp", "in/.hidden/d.png"):
        photo(name)
    Path("in/notes.txt").write_text("not a picture")
    assert run("enhance", "in", "-o", "flat").exit_code == 0
    assert files("flat") == ["a.png"]
    assert run("enhance", "in", "-o", "all", "--recursive").exit_code == 0
    assert files("all") == ["a.png", "deep/b.tif", "deep/er/c.bmp"]


def test_globs_keep_the_structure_below_their_fixed_part(run):
    for name in ("in/x/a.png", "in/y/a.png", "in/y/b.jpg"):
        photo(name)
    assert run("enhance", "in/*/*.png", "-o", "out").exit_code == 0
    assert files("out") == ["x/a.png", "y/a.png"]
    assert run("enhance", "in/**/*.jpg", "-o", "out").exit_code == 0
    assert files("out") == ["x/a.png", "y/a.png", "y/b.jpg"]


def test_a_name_with_wildcard_characters_is_a_name(run):
    photo("a[1].png")
    assert run("enhance", "a[1].png", "-o", "out").exit_code == 0
    assert files("out") == ["a[1].png"]


def test_suffix(run):
    photo("a.png")
    assert run("enhance", "a.png", "-o", ".", "--suffix", "_bright").exit_code == 0
    assert files(".") == ["a.png", "a_bright.png"]
    assert run("enhance", "a.png", "-o", "b.png", "--suffix", "_bright").exit_code == 2


def test_existing_outputs_are_skipped_and_said(run):
    photo("a.png")
    photo("b.png")
    photo("out/a.png", 99)
    result = run("enhance", "a.png", "b.png", "-o", "out")
    assert result.exit_code == 0
    assert "1 picture enhanced" in result.output
    assert "exists and was skipped" in result.output
    assert value("out/a.png") == 99
    # all done: not even a model is loaded
    run.loaded.clear()
    assert "2 skipped" in run("enhance", "a.png", "b.png", "-o", "out").output
    assert run.loaded == []
    assert run("enhance", "a.png", "b.png", "-o", "out", "--overwrite").exit_code == 0
    assert value("out/a.png") == 101


def test_an_output_folder_inside_the_input_is_not_read(run):
    photo("in/a.png")
    for _ in range(2):
        assert run("enhance", "in", "-o", "in/bright", "-r").exit_code == 0
    assert files("in") == ["a.png", "bright/a.png"]


def test_broken_pictures_are_listed_and_the_rest_is_done(run):
    photo("a.png")
    photo("z.png")
    Path("broken.png").write_bytes(Path("a.png").read_bytes()[:40])
    Path("notes.txt").write_text("not a picture")
    result = run("enhance", "broken.png", "a.png", "missing.png", "notes.txt", "*.gif", "z.png", "-o", "out")
    assert result.exit_code == 1
    assert files("out") == ["a.png", "z.png"]
    assert "2 pictures enhanced, 4 failed" in result.output
    for name in ("broken.png", "missing.png: no such file", "notes.txt: not a PNG, JPEG", r"*.gif: no picture"):
        assert f"  {name}" in result.output


def test_an_empty_folder_fails_with_a_hint(run):
    photo("in/deep/a.png")
    result = run("enhance", "in", "-o", "out")
    assert result.exit_code == 1
    assert "--recursive" in result.output


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["a.png"], "out.gif", "cannot write '.gif'"),
        (["a.png", "b.png"], "out.png", "several pictures need a folder"),
        (["in"], "out.png", "several pictures need a folder"),
        (["a.png", "in/a.png"], "out", "would both become"),
        (["a.png", "a_x.png", "--suffix", "_x"], ".", "itself an input"),
        (["a.png"], "a.png", "a.png would be written over"),
        (["in"], "in", "a.png would be written over"),
        (["a.png"], "link.png", "a.png would be written over"),
        (["a.png", "--suffix", "/../b"], "out", "--suffix is a part of names"),
        (["a.png"], "-", "standard input and output are not taken"),
        (["-"], "out.png", "standard input and output are not taken"),
        (["a.png", "--format", "xyz"], "out", "--format: cannot write '.xyz'"),
    ],
)
def test_impossible_plans_stop_before_any_work(run, inputs, output, message):
    for name in ("a.png", "b.png", "in/a.png", "a_x.png"):
        photo(name)
    Path("link.png").symlink_to("a.png")
    before = files(".")
    result = run("enhance", *inputs, "-o", output, "--overwrite")
    assert result.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", result.output)
    assert files(".") == before
    assert run.loaded == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--brightness", "nan", "--brightness must be stops from -10 to 10"),
        ("--brightness", "11", "--brightness must be stops from -10 to 10"),
        ("--steps", "31", "--steps must lie in 1 .. 30 with this model, got 31"),
    ],
)
def test_an_amount_that_no_picture_can_have_is_said_once(run, monkeypatch, option, value, message):
    monkeypatch.setattr(Gamma, "config", SimpleNamespace(timesteps=30), raising=False)
    photo("in/a.png")
    photo("in/b.png")
    result = run("enhance", "in", "-o", "out", option, value)
    assert result.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", result.output)
    assert not Path("out").exists()


def test_the_same_picture_twice_is_done_once(tmp_path):
    photo(tmp_path / "in/a.png")
    work = plan([f"{tmp_path}/in", f"{tmp_path}/in/a.png"], f"{tmp_path}/out")
    assert len(work.jobs) == 1


def test_links_to_one_output_collide(tmp_path):
    photo(tmp_path / "in/a.png")
    photo(tmp_path / "other/a.png")
    (tmp_path / "out").mkdir()
    with pytest.raises(PlanError, match="both become"):
        plan([f"{tmp_path}/in", f"{tmp_path}/other"], f"{tmp_path}/out")


def test_options_arrive(run):
    photo("a.png")
    result = run("enhance", "a.png", "-o", "b.png", "-m", "name", "--device", "cpu", "--dtype", "bfloat16", "--seed", 3)
    assert result.exit_code == 0
    assert run.loaded == [("name", "cpu", "bfloat16")]


def test_a_model_that_cannot_be_loaded(run):
    photo("a.png")
    result = run("enhance", "a.png", "-o", "b.png", "--model", "broken")
    assert result.exit_code == 2
    assert "no usable weights" in result.output


def test_a_folder_that_cannot_be_written(run, monkeypatch):
    photo("a.png")

    def refuse(source, target):
        raise PermissionError(13, "Permission denied", target)

    # the system call, because permissions do not bind root
    monkeypatch.setattr(os, "replace", refuse)
    result = run("enhance", "a.png", "-o", "out")
    assert result.exit_code == 1
    assert "a.png: out/a.png cannot be written: permission denied" in result.output
    assert files("out") == []


def test_an_output_folder_that_is_a_file(run):
    photo("a.png")
    Path("out").write_text("in the way")
    result = run("enhance", "a.png", "-o", "out/")
    assert result.exit_code == 1
    assert "a.png: " in result.output


def test_notes_are_said(run):
    Image.new("RGBA", (4, 4), (9, 9, 9, 128)).save("a.png")
    assert "a.png: transparency laid over white" in run("enhance", "a.png", "-o", "b.jpg").output


def test_sample(run):
    result = run("sample", "dark.png", "--bright", "bright.jpg", "--size", "90x60", "--seed", 2)
    assert result.exit_code == 0
    dark, bright = read_picture("dark.png"), read_picture("bright.jpg")
    assert dark.rgb.shape == bright.rgb.shape == (60, 90, 3)
    assert dark.rgb.mean() < 0.1 < 0.3 < bright.rgb.mean()


def test_sample_leaves_existing_files(run):
    photo("dark.png", 77)
    result = run("sample", "dark.png", "--size", "9x6")
    assert result.exit_code == 0
    assert "left as it is" in result.output
    assert value("dark.png") == 77
    assert run("sample", "dark.png", "--size", "9x6", "--overwrite").exit_code == 0
    assert read_picture("dark.png").rgb.shape == (6, 9, 3)


@pytest.mark.parametrize(
    "arguments", [["dark.gif"], ["d.png", "--size", "90"], ["d.png", "--size", "0x5"], ["d.png", "--bright", "d.png"]]
)
def test_sample_refuses(run, arguments):
    assert run("sample", *arguments).exit_code == 2
    assert files(".") == []


def test_info_tells_every_backend(run):
    output = run("info").output
    for fact in (
        "Python 3",
        "torch",
        # "+cpu" and the like are no part of what pip records
        torch.__version__.split("+")[0],
        "compiled",
        "backend reference",
        "backend cpp",
        "backend cuda",
    ):
        assert fact in re.sub(r" +", " ", output)


def test_models(run):
    from lowlight.checkpoints import shipped_models

    output = run("models").output
    assert all(model.name in output for model in shipped_models())
    assert output.strip()


def test_every_command_has_help(run):
    for name in ("enhance", "sample", "models", "evaluate", "steps", "train", "info"):
        result = run(name, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.output


FAKE = """
import sys, time, torch
from lowlight import checkpoints
class Slow:
    device, dtype = torch.device("cpu"), torch.float32
    def enhance_tensor(self, low, **_):
        time.sleep(0.3)
        return low.sqrt()
checkpoints.load_system = lambda *_, **__: Slow()
from lowlight.cli import main
main()
"""


def process(code, *arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    # a shell that starts the tests in the background has them ignore Ctrl-C, which a child would inherit
    listen = None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], preexec_fn=listen,
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_leaves_whole_pictures_and_no_traceback(tmp_path):
    for i in range(40):
        photo(tmp_path / f"in/{i:02}.png")
    running = process(FAKE, "enhance", "in", "-o", "out", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/0[12].png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command goes on from here" in errors
    done = files(tmp_path / "out")
    assert 1 <= len(done) < 40
    assert f"{len(done)} picture" in output
    assert all(re.fullmatch(r"\d\d\.png", name) for name in done)
    assert all(read_picture(tmp_path / "out" / name).rgb.shape == (4, 6, 3) for name in done)


def test_exit_codes_of_the_process(tmp_path):
    code = "from lowlight.cli import main; main()"
    for arguments, expected in ((["--help"], 0), (["enhance"], 2), (["enhance", "missing.png", "-o", "b.png"], 1)):
        running = process(code, *arguments, cwd=tmp_path)
        output, errors = running.communicate(timeout=60)
        assert running.returncode == expected, output + errors
        assert "Traceback" not in errors


def test_help_does_not_wait_for_torch(tmp_path):
    code = """
import sys
from lowlight.cli import main
try:
    main()
finally:
    heavy = {"torch", "scipy", "yaml", "safetensors"} & set(sys.modules)
    print("heavy:", sorted(heavy))
"""
    running = process(code, "--help", cwd=tmp_path)
    assert running.communicate(timeout=60)[0].endswith("heavy: []\n")


def test_the_package_exports_the_function_whatever_is_imported_first(tmp_path):
    code = "import lowlight, importlib; importlib.import_module('lowlight.enhance'); assert callable(lowlight.enhance)"
    running = process(code, cwd=tmp_path)
    assert running.wait(60) == 0, running.communicate()[1]
    assert callable(lowlight.enhance)


def test_resized_like_the_readme(run):
    """The README's first line, with a gamma curve: a dark sample becomes brighter, same size."""
    assert run("sample", "dark.png", "--size", "60x40").exit_code == 0
    assert run("enhance", "dark.png", "-o", "bright.png").exit_code == 0
    dark, bright = np.asarray(Image.open("dark.png")), np.asarray(Image.open("bright.png"))
    assert bright.shape == dark.shape == (40, 60, 3)
    assert bright.mean() > 2 * dark.mean()
