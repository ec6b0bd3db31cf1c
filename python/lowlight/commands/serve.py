"""`lowlight serve`: POST a picture, get a picture."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from . import completion
from .engine_options import Engine, Precision

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
    engine: Engine = "torch",
    precision: Precision = None,
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
    from ..serving.app import application
    from ..serving.crew import Crew, load_models
    from ..serving.gauges import Gauges
    from ..serving.server import listen, run
    from ..serving.uploads import Limits

    limits, gauges = Limits(max_megabytes, max_megapixels, timeout, queue), Gauges()
    try:
        listening, address = listen(host, port)
    except OSError as error:
        raise typer.BadParameter(f"cannot listen on {host}, port {port}: {error}") from None
    with listening:
        try:
            crew = Crew(
                load_models(model or (), device or (), dtype, engine=engine, precision=precision), queue, gauges
            )
        except (ValueError, OSError) as error:
            raise typer.BadParameter(str(error)) from None
        typer.echo(f"lowlight serve: {address} (Ctrl-C ends it)")
        run(application(crew, limits, gauges), listening, log)
