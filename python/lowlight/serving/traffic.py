"""Every request on its way: counted, timed, and heard to its end before a refusal is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .gauges import Gauges

# for a sender who is refused while sending; whoever hangs up on it takes the answer from it too
_PATIENCE = 2.0
GONE = 499


class Traffic:
    """ASGI middleware. paths: those that are counted by name, of which there must not be any number."""

    def __init__(self, app: ASGIApp, gauges: Gauges, paths: Collection[str]):
        self._app, self._gauges, self._paths = app, gauges, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        began, status, more = time.perf_counter(), GONE, True

        async def heard() -> Message:
            nonlocal more
            message = await receive()
            more = more and message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def rest() -> None:
            while more:
                await heard()

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # who asks before sending is not made to send
                if not any(name == b"expect" for name, _ in scope["headers"]):
                    await asyncio.wait([asyncio.ensure_future(rest())], timeout=_PATIENCE)
            await send(message)

        try:
            await self._app(scope, heard, answered)
        finally:
            self._gauges.requests.labels(path, str(status)).inc()
            self._gauges.latency.labels(path).observe(time.perf_counter() - began)
