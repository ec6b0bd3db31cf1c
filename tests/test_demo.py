"""The web demo through its own interface: answers, limits, broken uploads, what is served and what is not."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import opened

import lowlight
from lowlight.files.pictures import Picture, read_picture, write_picture
from lowlight.metrics.scores import psnr
from lowlight.scenes.synthetic import darken, still_life

pytest.importorskip("gradio", reason="the demo extra is not installed")
# gradio itself: its own files and its dependencies
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
WISH = ("wavelet-anchored-small", 0, 1, 1, 0, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dark picture of 16 bits and its truth, a file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    scene = still_life(70, 50)
    write_picture(folder / "truth.png", Picture(scene, bits=16))
    write_picture(folder / "dark.png", Picture(darken(scene, seed=0), bits=16))
    (folder / "broken.png").write_bytes((folder / "dark.png").read_bytes()[:500])
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The command as a user starts it; -> its address."""
    folder = tmp_path_factory.mktemp("server")
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "lowlight", "demo", "--max-batch", "3", "--max-megapixels", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=folder, text=True)
    try:
        line = process.stdout.readline()
        yield re.search(r"http://127\.0\.0\.1:\d+", line)[0]
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert not any(folder.glob("lowlight-demo-*"))


@pytest.fixture(scope="module")
def ask(server, tmp_path_factory):
    """Asks the demo as its page does."""
    from gradio_client import Client, handle_file

    client = Client(server, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))

    def predict(name, *told):
        sent = [handle_file(value) if isinstance(value, Path) else value for value in told]
        sent = [[handle_file(v) for v in value] if isinstance(value, list) else value for value in sent]
        return client.predict(*sent, api_name=f"/{name}")

    return predict


def test_full_resolution_is_the_library_s_in_the_depth_that_came(ask, folder):
    told = ("wavelet-anchored-small", 0.5, 1.5, 0.8, 0, 3)
    slider, download, about = ask("full", folder / "dark.png", *told)
    dark = read_picture(folder / "dark.png")
    expected = lowlight.enhance(dark.rgb, brightness=0.5, saturation=1.5, strength=0.8, seed=3)
    got = read_picture(download)
    assert Path(download).name == "dark-bright.png"
    assert got.bits == 16
    assert np.abs(got.rgb - expected).max() < 2 / 65535
    assert "70 x 50, 16 bit" in about
    assert np.abs(read_picture(slider[0]).rgb - dark.rgb).max() <= 0.51 / 255


def test_a_preview_and_the_film_end_alike(ask, folder):
    slider, shades, about = ask("brighten", folder / "dark.png", *WISH[:4], 3, 0)
    frames = ask("film", folder / "dark.png", *WISH[:4], 3, 0)
    assert "<polyline" in shades
    assert re.search(r"\d\.\d\d s", about)
    assert [frame["caption"] for frame in frames] == ["dark", *(f"network call {i}" for i in (1, 2, 3))]
    last = read_picture(frames[-1]["image"]).rgb
    assert np.array_equal(last, read_picture(slider[1]).rgb)
    assert not np.array_equal(last, read_picture(frames[1]["image"]).rgb)


def test_compare_scores_against_a_truth(ask, folder):
    _, table, _ = ask("compare", folder / "dark.png", folder / "truth.png", "untouched", WISH[0])
    dark, truth = (
        torch.from_numpy(read_picture(folder / f"{name}.png").rgb).movedim(-1, 0)[None] for name in ("dark", "truth")
    )
    rows = [dict(zip(table["headers"], row, strict=True)) for row in table["data"]]
    assert rows[0]["PSNR"] == f"{psnr(dark, truth).item():.2f}"
    assert float(rows[1]["PSNR"]) > float(rows[0]["PSNR"]) + 3


def test_one_broken_upload_does_not_stop_a_batch(ask, folder):
    table, archive = ask("batch", [folder / f"{name}.png" for name in ("dark", "broken", "truth")], *WISH)
    states = dict(table["data"])
    assert states["broken.png"].startswith("failed: broken.png: cannot be decoded")
    assert states["dark.png"].startswith("done")
    with zipfile.ZipFile(archive) as bundle:
        assert bundle.namelist() == ["001-dark-bright.png", "002-truth-bright.png"]
        assert bundle.testzip() is None


@pytest.mark.parametrize(
    ("endpoint", "told", "message"),
    [
        ("brighten", ("broken.png", *WISH), "broken.png: cannot be decoded"),
        ("brighten", ("large.png", *WISH), "large.png: 1200 x 1000, at most 1 megapixels"),
        ("brighten", ("dark.png", "/etc/passwd", *WISH[1:]), "Value: /etc/passwd"),
        ("brighten", ("dark.png", WISH[0], 0, 1, 1, 0, 1e30), "maximum"),
        ("full", (None, *WISH), "no picture yet"),
        ("batch", (["dark.png"] * 4, *WISH), "4 pictures, at most 3"),
        ("expose", ("dark.png", 5, True, "", 0), r"Invalid file type|not a raw file"),
        ("compare", ("dark.png", "large.png", "untouched", WISH[0]), "at most 1 megapixels"),
    ],
)
def test_bad_requests_are_one_sentence_and_the_server_goes_on(ask, folder, endpoint, told, message):
    from gradio_client.exceptions import AppError

    if not (folder / "large.png").exists():
        write_picture(folder / "large.png", Picture(np.zeros((1000, 1200, 3), np.float32)))

    def sent(value):
        if isinstance(value, list):
            return [folder / name for name in value]
        return folder / value if isinstance(value, str) and value.endswith(".png") else value

    with pytest.raises(AppError, match=message) as failure:
        ask(endpoint, *map(sent, told))
    assert str(folder) not in str(failure.value)
    assert "lowlight-demo-" not in str(failure.value)
    assert ask("brighten", folder / "dark.png", *WISH)


def test_raw_files_come_back_as_dng_and_png(ask, tmp_path):
    pytest.importorskip("rawpy")
    from lowlight.raw.dng import write_dng
    from lowlight.raw.files import read_raw
    from lowlight.scenes.synthetic_raw import short_exposure

    write_dng(tmp_path / "dark.dng", short_exposure(still_life(64, 48), ratio=32, seed=0)[0])
    _, files, about = ask("expose", tmp_path / "dark.dng", 5, False, "SonyA7S2", 0)
    assert about.startswith("ratio 32, K ")
    assert [Path(file).name for file in files] == ["dark-long.dng", "dark-long.png"]
    assert read_raw(files[0]).mosaic.shape == (48, 64)
    assert read_picture(files[1]).bits == 16


@pytest.mark.parametrize("path", ["/etc/hostname", __file__, "pyproject.toml"])
def test_nothing_else_is_served(server, path):
    with pytest.raises(urllib.error.HTTPError, match=r"403|404"):
        urllib.request.urlopen(f"{server}/gradio_api/file={path}")


def test_results_go_after_an_hour(tmp_path):
    from lowlight.demo.desk import Desk

    desk = Desk(tmp_path)
    old, new = desk.place("old.png"), desk.place("new.png")
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    desk.place("third.png")
    assert not old.exists()
    assert new.exists()


@pytest.fixture
def browser_page(server):
    """The page in headless Chromium, and the hosts that it asked for anything."""
    with opened(server, 1000, 120) as found:
        yield found


def test_in_a_browser(browser_page, folder, tmp_path):
    """Upload, brighten, drag the line, another brightness, download; nothing is asked of another host."""
    page, hosts = browser_page
    page.locator("input[type=file]").first.set_input_files(folder / "dark.png")
    facts = page.locator("p", has_text="70 x 50, 16 bit")
    facts.wait_for()
    line = page.locator(".inner").first
    before = line.bounding_box()
    page.mouse.move(before["x"] + before["width"] / 2, before["y"] + before["height"] / 2)
    page.mouse.down()
    page.mouse.move(before["x"] - 150, before["y"] + 20, steps=5)
    page.mouse.up()
    assert line.bounding_box()["x"] < before["x"] - 100

    def shown():
        return page.locator("[data-testid=imageslider-image]").last.get_attribute("src")

    first = shown()
    brightness = page.get_by_label("number input for Brightness, in stops")
    brightness.fill("-1")
    brightness.press("Enter")
    page.wait_for_function(
        "old => [...document.querySelectorAll('[data-testid=imageslider-image]')].at(-1).src != old", arg=first
    )
    page.get_by_role("button", name="Full resolution").first.click()
    link = page.locator("a[download*=dark-bright]").first
    with page.expect_download() as download:
        link.click()
    download.value.save_as(tmp_path / "bright.png")
    expected = lowlight.enhance(read_picture(folder / "dark.png").rgb, brightness=-1)
    assert np.abs(read_picture(tmp_path / "bright.png").rgb - expected).max() < 2 / 65535
    assert hosts - {""} == {"127.0.0.1"}
