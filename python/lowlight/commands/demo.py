"""`lowlight demo`: a web page that brightens what is dropped on it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from . import completion

# torch and gradio are imported inside the function: `lowlight --help` must not wait for them


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A checkpoint file to offer beside the shipped models; repeat for several.",
            autocompletion=completion.models,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port (default: the first free from 7860).")] = (
        None
    ),
    browser: Annotated[bool, typer.Option("--browser", help="Open the page in a browser.")] = False,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one upload.")] = 100,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Of one picture.")] = 50,
    max_batch: Annotated[int, typer.Option(min=1, help="Pictures in one batch.")] = 50,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 (default: float32).")] = None,
) -> None:
    """Serve a web page: before and after, a film of the steps, comparisons, batches, raw files."""
    if find_spec("gradio") is None:
        raise typer.BadParameter("the demo needs gradio: pip install 'lowlight-ext[demo]'")
    # as Ctrl-C does: what was uploaded goes with the server
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="lowlight-demo-") as folder:
        # gradio keeps uploads there; it serves nothing else, and all of it goes with the server
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "uploads")
        from ..demo.desk import Desk, Limits
        from ..demo.page import launch_options, page

        limits = Limits(max_megabytes, max_megapixels, max_batch)
        try:
            desk = Desk(Path(folder) / "results", model or (), limits, device, dtype)
        except (ValueError, OSError) as error:
            raise typer.BadParameter(str(error)) from None
        blocks = page(desk)
        try:
            _, url, _ = blocks.launch(
                server_name=host, server_port=port, inbrowser=browser, prevent_thread_lock=True, **launch_options(desk)
            )
        except OSError as error:
            raise typer.BadParameter(f"cannot listen on {host}: {error}") from None
        typer.echo(f"lowlight demo: {url} (Ctrl-C ends it)")
        blocks.block_thread()
