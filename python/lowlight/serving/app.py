"""The server's addresses."""

# no `from __future__ import annotations`: FastAPI reads hints that are made inside a function

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from .. import __version__
from ..files.formats import OtherFormatError, TooLargeError
from .crew import Answer, Crew
from .gauges import Gauges
from .traffic import GONE, Traffic
from .uploads import FIELD, Limits, Refused, Upload, format_of_upload, upload_of
from .wanted import MEDIA_TYPES, Wanted, wanted_of

# header of the notes: a JSON array of sentences
NOTES = "Lowlight-Notes"
_MOST_NOTES, _LONGEST_NOTE = 20, 200


class Problem(BaseModel):
    """What keeps a request from being answered, in a sentence."""

    detail: str


class Health(BaseModel):
    """What a server is and how busy; status: "ok". places: of which `taken` are."""

    status: str
    version: str
    models: list[str]
    devices: list[str]
    places: int
    taken: int


_REFUSALS = {
    400: "A form that is not one picture.",
    408: "The picture did not arrive in time.",
    413: "Too many bytes or pixels.",
    415: "Not a picture of a format that is read here.",
    422: "A picture that cannot be decoded or written, or an option that does not fit.",
    500: "Not enough memory, or numbers that overflowed.",
    503: "All places are taken: come again after Retry-After seconds.",
    504: "Not answered in time.",
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"type": "object", "properties": {FIELD: _BYTES["schema"]}, "required": [FIELD], "additionalProperties": False}
_KINDS = (*MEDIA_TYPES.values(), "image/gif")
_BODY = {
    "required": True,
    "description": "The picture's file: as it is, whatever type is said, or as the one file of a form.",
    "content": dict.fromkeys((*_KINDS, "application/octet-stream"), _BYTES)
    | {"multipart/form-data": {"schema": _FORM, "encoding": {FIELD: {"contentType": ", ".join(_KINDS)}}}},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bright picture, in the format that came or was asked for.",
        "content": dict.fromkeys(MEDIA_TYPES.values(), _BYTES),
        "headers": {NOTES: {"description": "What could not be kept: a JSON array.", "schema": {"type": "string"}}},
    },
    **{status: {"model": Problem, "description": text} for status, text in _REFUSALS.items()},
}


def application(crew: Crew, limits: Limits, gauges: Gauges) -> FastAPI:
    """POST /enhance, GET /health, /metrics and /openapi.json. The crew is closed when the server ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        crew.close()

    # no page of documentation: FastAPI's asks another host for its scripts
    app = FastAPI(title="lowlight", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Traffic, gauges=gauges, paths=("/enhance", "/health", "/metrics", "/openapi.json"))
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    wanted_here = wanted_of(crew.models)

    @app.post("/enhance", response_class=Response, responses=_ANSWERS, openapi_extra={"requestBody": _BODY})
    async def enhance(request: Request, wanted: Annotated[wanted_here, Query()]) -> Response:  # type: ignore[valid-type]
        """Brighten a picture: bytes in, bytes out, as `lowlight enhance` does with a file."""
        with crew.place():
            upload = await upload_of(request, limits)
            try:
                format = await asyncio.to_thread(format_of_upload, upload, limits)
                answer = await _waited(crew, request, upload, format, wanted, limits.seconds)
            except (ValueError, TypeError, RuntimeError, MemoryError) as error:
                raise _told(error) from error
        if answer is None:
            return Response(status_code=GONE)
        return Response(answer.data, media_type=answer.media_type, headers=_notes(answer.notes))

    @app.get("/health")
    async def health() -> Health:
        """Whether it works, what it has loaded and how busy it is."""
        return Health(
            status="ok",
            version=__version__,
            models=crew.models,
            devices=crew.devices,
            places=crew.most,
            taken=crew.inside,
        )

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Requests, seconds, queue and pixels, for Prometheus."""
        return Response(gauges.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app


async def _waited(
    crew: Crew, request: Request, upload: Upload, format: str, wanted: Wanted, seconds: float
) -> Answer | None:
    """The crew's answer, or None where its sender went. Raises Refused with 504, and what the work raised."""
    work = crew.begin(upload, format, wanted)
    answer, gone = asyncio.wrap_future(work), asyncio.ensure_future(_gone(request))
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if gone.done():
            return None
        raise Refused(504, f"{upload.name}: not answered after {seconds:g} seconds")
    finally:
        gone.cancel()
        crew.drop(work, upload)
        answer.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _told(error: Exception) -> Refused:
    kinds = ((OtherFormatError, 415), (TooLargeError, 413), ((ValueError, TypeError), 422))
    status = next((status for kind, status in kinds if isinstance(error, kind)), 500)
    return Refused(status, (str(error).splitlines() or [type(error).__name__])[0])


def _notes(notes: tuple[str, ...]) -> dict[str, str]:
    return {NOTES: json.dumps([note[:_LONGEST_NOTE] for note in notes[:_MOST_NOTES]])} if notes else {}


async def _refused(_: Request, refused: Any) -> JSONResponse:
    return JSONResponse({"detail": refused.detail}, refused.status, refused.headers)


async def _invalid(_: Request, invalid: Any) -> JSONResponse:
    first = invalid.errors()[0]
    # ("query", option), and then what of its type did not fit
    return JSONResponse({"detail": f"{first['loc'][:2][-1]}: {first['msg']}"}, 422)
