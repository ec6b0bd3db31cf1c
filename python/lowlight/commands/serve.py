"""`lowlight serve`: POST a picture, get a picture."""

from __future__ import annotations

import os
import signal
import socket
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from . import completion

# torch and fastapi are imported inside the function: `lowlight --help` must not wait for them


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Shipped name or checkpoint file; repeat for several, the first is taken where a request says none.",
            autocompletion=completion.models,
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="cpu, cuda, cuda:1 ...; repeat for a worker each (default: a GPU if there is one)."),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 (default: float32).")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are told to come again.")] = 64,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a picture to arrive, and for its answer, waiting included.")
    ] = 120,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one picture's file.")] = 50,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Of one picture.")] = 50,
    log: Annotated[bool, typer.Option("--log", help="A line for each request.")] = False,
) -> None:
    """Serve POST /enhance: a picture's file in, the bright one out, with a queue, limits and metrics.

    Options of a request stand in its query (?brightness=0.5&format=jpg); GET /openapi.json describes them all, GET
    /health and /metrics say how it goes. Ctrl-C finishes what was taken, a second one ends at once.
    """
    for module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        if find_spec(module) is None:
            raise typer.BadParameter(f"the server needs {module}: pip install 'lowlight-ext[serve]'")
    import uvicorn

    from ..serving.app import application
    from ..serving.crew import Crew, load_models
    from ..serving.gauges import Gauges
    from ..serving.uploads import Limits

    limits, gauges = Limits(max_megabytes, max_megapixels, timeout, queue), Gauges()
    try:
        stations = load_models(model or (), device or (), dtype)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise typer.BadParameter(f"cannot listen on {host}, port {port}: {error}") from None
    crew = Crew(stations, queue, gauges)
    level = "info" if log else "warning"
    config = uvicorn.Config(application(crew, limits, gauges), log_level=level, access_log=log, server_header=False)
    server = uvicorn.Server(config)
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"lowlight serve: http://{shown}:{listening.getsockname()[1]} (Ctrl-C ends it)")
    # uvicorn, when it has finished, raises the signal that ended it once more
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        if server.force_exit:
            # a worker cannot be interrupted, and Python would wait for it
            os._exit(130)
