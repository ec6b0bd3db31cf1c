"""The site: it builds, asks no other host for anything, and the line on its first page moves when it is dragged."""

import functools
import http.server
import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from browser import opened
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "mkdocs.yml").is_file():
    pytest.skip("mkdocs.yml is not beside the tests: not a checkout", allow_module_level=True)
for name in ("mkdocs", "material", "mkdocstrings"):
    pytest.importorskip(name, reason="the docs extra is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    places = [str(ROOT), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def first_page(site):
    """The first page in headless Chromium, and the hosts that were asked for anything."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with opened(f"http://127.0.0.1:{server.server_port}/", 900, 60) as found:
            yield found
    finally:
        server.shutdown()
        server.server_close()


def test_every_page_and_name_is_there(site):
    for page in ("commands", "reference", "checkpoints", "promises", "troubleshooting", "ddpm", "systems/diffll"):
        assert (site / page / "index.html").is_file(), page
    for tour in ("photographer", "researcher", "engineer", "operations"):
        assert (site / "tours" / tour / "index.html").is_file(), tour
    # what lies outside of docs/ and is linked to
    assert (site / "repository" / "notebooks" / "operators.ipynb").is_file()
    assert "repository/python/lowlight/weights/diffll-small/" in (site / "checkpoints" / "index.html").read_text()
    reference = (site / "reference" / "index.html").read_text()
    for name in ("haar_dwt2d", "diffusion_step", "raw_noise", "GroupNormSiLU"):
        assert f'id="lowlight_ext.{name}"' in reference or f'id="lowlight_ext.nn.{name}"' in reference, name
    assert "--brightness" in (site / "commands" / "index.html").read_text()


def test_the_line_is_dragged(first_page, tmp_path):
    page, hosts = first_page
    bright = page.locator("#bright")
    bright.scroll_into_view_if_needed()
    box = bright.bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def cut():
        return float(re.search(r"([\d.]+)%\)", bright.evaluate("e => getComputedStyle(e).clipPath"))[1])

    def light(x):
        """Of the picture as it is shown, a narrow strip at x of its width."""
        clip = {"x": box["x"] + x * box["width"], "y": box["y"], "width": 20, "height": box["height"]}
        return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L")).mean()

    dark = light(0.3)
    assert abs(cut() - 50) < 1
    page.mouse.move(middle, height)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.1 * box["width"], height, steps=8)
    page.mouse.up()
    assert cut() < 15
    assert light(0.3) > 3 * dark
    page.keyboard.press("End")
    assert cut() == 100
    assert hosts == {"127.0.0.1"}
