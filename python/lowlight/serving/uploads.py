"""What a request brings: the bytes of one picture, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

from fastapi import Request
from PIL.TiffImagePlugin import TiffImageFile
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..files.formats import OtherFormatError, TooLargeError, open_image
from ..raw.develop import is_raw

# the field of a form that the picture is in, and what messages call one that has no name
FIELD = "picture"
# of a form, beside the picture in it
_FRAME = 65536
_DNG_VERSION = 50706


@dataclass(frozen=True)
class Limits:
    """Of what one request may ask and how long it may take. places: requests that may wait."""

    megabytes: int = 50
    megapixels: int = 50
    seconds: float = 120
    places: int = 64


@dataclass
class Upload:
    """name: what its sender calls it. data: emptied where nobody waits for the answer any more."""

    name: str
    data: bytes


class Refused(Exception):
    """A request that is not answered with a picture: HTTP status and a sentence for its sender."""

    def __init__(self, status: int, detail: str, retry_after: int | None = None):
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


class _InMemory(MultiPartParser):
    # the same limit under its names of old and new: nothing goes to the disk
    max_file_size = spool_max_size = 2**40


async def upload_of(request: Request, limits: Limits) -> Upload:
    """The picture of a request, its body or the file in its form. Raises Refused with 400, 408 or 413."""
    kind = request.headers.get("content-type", "")
    form = kind.lower().startswith("multipart/form-data")
    try:
        data = await asyncio.wait_for(_body(request, limits, _FRAME if form else 0), limits.seconds)
    except asyncio.TimeoutError:
        raise Refused(408, f"the picture was not there after {limits.seconds:g} seconds") from None
    return await _file_of_form(request, data, limits) if form else Upload(FIELD, data)


async def _body(request: Request, limits: Limits, more: int) -> bytes:
    data, most = bytearray(), limits.megabytes * 10**6 + more
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise _too_many_bytes(limits)
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise _too_many_bytes(limits)
    return bytes(data)


def _too_many_bytes(limits: Limits) -> Refused:
    return Refused(413, f"more than {limits.megabytes} MB, which is the most that is taken")


async def _file_of_form(request: Request, data: bytes, limits: Limits) -> Upload:
    async def once() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        form = await _InMemory(request.headers, once(), max_files=1, max_fields=0).parse()
    # ValueError: the parser's own, for a form that is damaged
    except (MultiPartException, ValueError) as error:
        reason = getattr(error, "message", None) or str(error)
        sentence = f"a form must have one field, {FIELD}, with a file in it; options belong into the query ({reason})"
        raise Refused(400, sentence) from None
    file = form.get(FIELD)
    if not isinstance(file, UploadFile):
        raise Refused(400, f"a form must have one field, {FIELD}, with a file in it")
    content = await file.read()
    if len(content) > limits.megabytes * 10**6:
        raise _too_many_bytes(limits)
    name = PurePosixPath((file.filename or "").replace("\\", "/")).name
    return Upload("".join(c for c in name if c.isprintable())[:100] or FIELD, content)


def format_of_upload(upload: Upload, limits: Limits) -> str:
    """Pillow's name of its format, by its header alone.

    Raises OtherFormatError for none and for raw files, TooLargeError, and PictureError where it cannot be decoded.
    """
    name = upload.name
    with open_image(BytesIO(upload.data), name) as image:
        if is_raw(name) or (isinstance(image, TiffImageFile) and _DNG_VERSION in image.tag_v2):
            raise OtherFormatError(f"{name}: a raw file; `lowlight enhance` exposes those, the server takes pictures")
        width, height = image.size
        if width * height > limits.megapixels * 10**6:
            most = f"at most {limits.megapixels} megapixels are taken"
            raise TooLargeError(f"{name}: {width} x {height}, {most}")
        return str(image.format)
