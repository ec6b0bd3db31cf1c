"""`lowlight serve` as a process: what it refuses to begin, and how it ends."""

import http.client
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO

import pytest
from PIL import Image
from typer.testing import CliRunner

from lowlight.cli import app

if any(find_spec(extra) is None for extra in ("fastapi", "uvicorn", "prometheus_client", "python_multipart")):
    pytest.skip("the serve extra is not installed", allow_module_level=True)

SLOW = """
import time, torch
from lowlight import checkpoints
class Slow:
    device, dtype = torch.device("cpu"), torch.float32
    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0, sampler=None):
        time.sleep(SECONDS)
        return low.sqrt()
checkpoints.load_system = lambda *_, **__: Slow()
from lowlight.cli import main
main()
"""


@pytest.fixture
def started(tmp_path):
    """Starts the command with a network that takes so many seconds; -> (process, port)."""
    running = []

    def start(seconds):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW.replace("SECONDS", str(seconds)), "serve", "--port", "0"],
            # a shell that starts the tests in the background has them ignore Ctrl-C, which a child would inherit
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        return process, int(re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())[1])

    yield start
    for process in running:
        process.kill()
        process.communicate()


def ask(port, method="GET", path="/health", data=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, data)
    answer = connection.getresponse()
    return answer.status, answer.read()


def taken(port, count):
    while f'"taken":{count}'.encode() not in ask(port)[1]:
        pass


def picture():
    stream = BytesIO()
    Image.new("RGB", (4, 3), (9, 9, 9)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM"])
def test_it_finishes_what_it_took(started, ending):
    process, port = started(0.5)
    with ThreadPoolExecutor(4) as clients:
        waiting = [clients.submit(ask, port, "POST", "/enhance", picture()) for _ in range(4)]
        taken(port, 4)
        process.send_signal(getattr(signal, ending))
        answers = [each.result() for each in waiting]
    assert [status for status, _ in answers] == [200] * 4
    assert len({body for _, body in answers}) == 1
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    with pytest.raises(OSError, match="refused"):
        ask(port)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_a_second_ctrl_c_ends_at_once(started):
    process, port = started(1000)
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(ask, port, "POST", "/enhance", picture())
        taken(port, 1)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "Traceback" not in errors
        assert waiting.exception() is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "exposurediffusion-small"], "works on the raw of a camera"),
        (["-m", "none"], "neither a shipped model nor a file"),
        (["-m", "default", "-m", "wavelet-anchored-small"], "two models would have one name"),
        (["--device", "toaster"], "no such device"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
    ],
)
def test_what_cannot_be_served(arguments, words):
    result = CliRunner().invoke(app, ["serve", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert words in re.sub(r"[\s│]+", " ", result.output)


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr("lowlight.commands.serve.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["serve"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "pip install 'lowlight-ext[serve]'" in result.output
