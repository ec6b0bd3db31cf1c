"""A server in a thread, asked as any client asks."""

import contextlib
import http.client
import json
import socket
import threading
import time
from urllib.parse import urlencode

import torch
import uvicorn

from lowlight.serving.app import application
from lowlight.serving.crew import Crew
from lowlight.serving.gauges import Gauges
from lowlight.serving.uploads import Limits


class Curve:
    """A system with the real interface; it counts its calls, and waits at a gate."""

    device, dtype, samplers = torch.device("cpu"), torch.float32, ()

    def __init__(self, seconds=0.0):
        self.gate, self.calls, self.seconds = threading.Event(), 0, seconds
        self.gate.set()

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0, sampler=None):
        self.calls += 1
        assert self.gate.wait(60)
        time.sleep(self.seconds)
        return low ** (0.5 if seed == 0 else 0.25)


class Served:
    """`stations` behind a port of 127.0.0.1 until `close`."""

    def __init__(self, *stations, **limits):
        gauges, limits = Gauges(), Limits(**limits)
        self.crew = Crew([{"curve": s} if isinstance(s, Curve) else s for s in stations], limits.places, gauges)
        self.app = application(self.crew, limits, gauges)
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = listening.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]})
        self._thread.start()

    def close(self):
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def connection(self):
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))

    def ask(self, data, method="POST", path="/enhance", headers=(), connection=None, **query):
        """-> (status, headers, body; a dictionary where it is JSON)."""
        with contextlib.nullcontext(connection) if connection else self.connection() as used:
            used.request(method, f"{path}?{urlencode(query)}" if query else path, data, dict(headers))
            answer = used.getresponse()
            body = answer.read()
        if answer.headers["content-type"] == "application/json":
            body = json.loads(body)
        return answer.status, answer.headers, body

    def count(self, name):
        """A number of /metrics, by its name and labels."""
        lines = self.ask(None, "GET", "/metrics")[2].decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), None)

    def until(self, name, value):
        deadline = time.monotonic() + 30
        while self.count(name) != value:
            assert time.monotonic() < deadline, f"{name} is {self.count(name)}, not {value}"
            time.sleep(0.02)


@contextlib.contextmanager
def served(*stations, **limits):
    server = Served(*stations, **limits)
    try:
        yield server
    finally:
        server.close()
