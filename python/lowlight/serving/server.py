"""uvicorn as it is run here: on a socket that is there before anything is said, and ended by Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

_BACKLOG = 2048


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:
            # a worker cannot be interrupted, and Python would wait for it; nothing here is half written
            os._exit(130)


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """A socket that takes connections, and the address to call it by; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    name = f"[{host}]" if family == socket.AF_INET6 else host
    return listening, f"http://{name}:{listening.getsockname()[1]}"


def run(app: FastAPI, listening: socket.socket, log: bool = False) -> None:
    """Until Ctrl-C or SIGTERM, after which what was taken is finished; a second Ctrl-C ends the process."""
    level = "info" if log else "warning"
    server = _Server(uvicorn.Config(app, log_level=level, access_log=log, server_header=False))
    # uvicorn, when it has finished, raises the signal that ended it once more
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
