"""The shell and Python of the pages, run as a reader copies them; what is not run is skipped with its reason."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import lowlight
import lowlight_ext
from lowlight.files.pictures import Picture, write_picture
from lowlight.scenes.synthetic import darken, still_life

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# from an empty folder: what Python modules and programs it needs, and what it leaves
TOURS = {
    "photographer": (["rawpy"], [], ["dark_bright.png", "bright/two.png", "night_longer.dng"]),
    "researcher": (["accelerate", "matplotlib"], [], ["scores.md", "losses.png", "steps.png", "mine.png"]),
    "engineer": ([], ["g++"], []),
    "operations": (["fastapi", "uvicorn", "prometheus_client", "multipart"], ["curl"], ["out/a.png", "served.png"]),
}
# in a folder that holds dark.png, dark.jpg and photos/: what it leaves
PAGES = {
    "README.md": ["bright.png"],
    "docs/index.md": ["bright.png"],
    "docs/files.md": ["dark_bright.jpg", "out/a.png", "web/b.jpg", "done.jsonl"],
}
NOT_RUN = {
    "CONTRIBUTING.md": "these are the tests and checks themselves",
    "docs/cluster.md": "needs Ray and machines; tests/test_cluster_command.py runs its like on one",
    "docs/ddpm.md": "an hour and more; tests/test_study.py runs a small study",
    "docs/demo.md": "serves until it is stopped; tests/test_demo.py starts it and asks it",
    "docs/raw.md": "needs photographs and a published checkpoint; the photographers' tour does its like",
    "docs/serving.md": "serves until it is stopped; the tour for operations starts it and asks it",
    "docs/training.md": "hours, LOL-v1 and SID; the researchers' tour trains, evaluates and exports",
    "docs/video.md": "needs a clip; tests/test_video_files.py makes one",
}

if not (ROOT / "README.md").is_file():
    pytest.skip("docs/ is not beside the tests: not a checkout", allow_module_level=True)


def blocks(page):
    """(language, text) in their order."""
    return re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def shell_of(page, languages=("sh", "python")):
    """The blocks as one shell script, Python's in one process; without installations and what serves for ever."""
    parts, python = [], []
    for language, text in blocks(page):
        if language == "python":
            python.append(text)
        elif "lowlight demo" not in text and "pytest" not in text:
            parts.append(re.sub(r"pip install \S+( && )?", "", text))
    if python and "python" in languages:
        parts += ["python - <<'END'", *python, "END"]
    return "\n".join(parts)


@pytest.fixture
def run(tmp_path):
    """Runs a shell script in an empty folder, with the `lowlight` and `python` that are tested; returns the folder."""
    place, programs = tmp_path / "reader", tmp_path / "programs"
    place.mkdir()
    programs.mkdir()
    for name, arguments in (("lowlight", "-m lowlight"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    places = [str(Path(package.__file__).parents[1]) for package in (lowlight, lowlight_ext)]
    environment = os.environ | {
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")]),
    }

    def run(script):
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return place

    run.place = place
    return run


def test_every_page_is_run_or_says_why_not():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
    with_shell = {str(p.relative_to(ROOT)) for p in pages if any(language == "sh" for language, _ in blocks(p))}
    tours = {f"docs/tours/{name}.md" for name in TOURS}
    assert {str(p.relative_to(ROOT)) for p in DOCS.glob("tours/*.md")} == tours
    assert with_shell <= set(PAGES) | set(NOT_RUN) | tours
    assert not set(PAGES) & set(NOT_RUN)


@pytest.mark.slow
@pytest.mark.parametrize("tour", TOURS)
def test_a_tour_runs(tour, run):
    modules, programs, leaves = TOURS[tour]
    for name in modules:
        pytest.importorskip(name)
    for name in programs:
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = run(shell_of(DOCS / "tours" / f"{tour}.md").replace("8123", port))
    for name in leaves:
        assert (place / name).stat().st_size > 0, name


@pytest.mark.slow
@pytest.mark.parametrize("page", [*PAGES, *NOT_RUN])
def test_a_page_s_shell_runs(page, run):
    if page in NOT_RUN:
        pytest.skip(NOT_RUN[page])
    (run.place / "photos").mkdir()
    script = shell_of(ROOT / page, languages=("sh",))
    for seed, name in enumerate(("dark.png", "dark.jpg", "photos/a.png", "photos/b.jpg")):
        if f"lowlight sample {name}" not in script:
            write_picture(run.place / name, Picture(darken(still_life(90, 60), seed=seed)))
    # where there is no GPU, all of them are none
    place = run(script.replace("--devices all", "--devices cpu,cpu"))
    for name in PAGES[page]:
        assert (place / name).stat().st_size > 0, name


def test_a_broken_line_fails(run):
    with pytest.raises(AssertionError, match="No such option"):
        run("lowlight models --no-such-option\ntrue")
