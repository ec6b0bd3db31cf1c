"""The page of the demo: gradio's parts around results.py. Nothing of it asks another host for anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial, wraps
from inspect import isgeneratorfunction
from typing import Any

# read when gradio is imported, which else would tell its makers
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from ..cameras.cameras import shipped_cameras
from ..files.pictures import Picture, write_picture
from ..raw.develop import RAW_SUFFIXES
from ..scenes.synthetic import darken, still_life
from ..scoring.baselines import BASELINES
from ..systems.wish import MOST_SATURATION
from . import results
from .desk import SUFFIXES, Desk
from .results import Wanted

# one picture at a time, whichever tab asks
_QUEUE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
_FAILURES = (ValueError, TypeError, OSError, MemoryError, RuntimeError)
_HELLO = "# lowlight\nDark photographs back to light. All of it is computed on this server; nothing leaves it."


def page(desk: Desk) -> gr.Blocks:
    """The page, not yet served; its `launch` takes launch_options(desk)."""
    with gr.Blocks(title="lowlight", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(_HELLO)
        for name, tab in (("Photo", _photo), ("Compare", _compare), ("Batch", _batch), ("Raw", _raw)):
            with gr.Tab(name):
                tab(desk)
    return blocks


def launch_options(desk: Desk) -> dict[str, Any]:
    """What launch is told beside host and port: nothing shared, uploads limited, fonts of the visitor's own."""
    fonts = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
    return {
        "share": False,
        "quiet": True,
        "show_error": True,
        "max_file_size": desk.limits.megabytes * 1_000_000,
        "theme": gr.themes.Default(primary_hue="amber", **fonts),
        "footer_links": ["api"],
        "ssr_mode": False,
    }


def _photo(desk: Desk) -> None:
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            upload = gr.File(label="Dark photograph", file_types=list(SUFFIXES), height=130)
            example = gr.Button("Take the still life", size="sm")
            controls = _controls(desk)
            full = gr.Button("Full resolution", variant="primary")
            download = gr.File(label="Download, in the depth that came", interactive=False, height=90)
        with gr.Column(scale=3):
            slider = gr.ImageSlider(type="filepath", label="dark | bright", interactive=False, max_height=640)
            about = gr.Markdown()
            with gr.Accordion("Histogram", open=False):
                shades = gr.HTML()
            with gr.Accordion("Film of the steps", open=False):
                roll = gr.Button("Show it", size="sm")
                scrubber = gr.Slider(0, 1, 0, step=1, label="Network call")
                # without the button that would share it elsewhere
                buttons = ["download", "fullscreen"]
                frames = gr.Gallery(label="After each call", preview=True, object_fit="contain", buttons=buttons)
    asked = [upload, *controls]
    preview = _plainly(lambda path, *told: results.brighten(desk, path, Wanted(*told)))
    gr.on(
        [upload.upload, *(control.change for control in controls)], preview, asked, [slider, shades, about],
        api_name="brighten", trigger_mode="always_last", show_progress="minimal", **_QUEUE,
    )  # fmt: skip
    taken = example.click(partial(_still_life, desk), None, upload, api_name="still_life")
    taken.then(preview, asked, [slider, shades, about], api_visibility="private", **_QUEUE)
    whole = _plainly(lambda path, *told: results.whole(desk, path, Wanted(*told)))
    full.click(whole, asked, [slider, download, about], api_name="full", **_QUEUE)
    rolled = roll.click(
        _plainly(lambda path, *told: results.film(desk, path, Wanted(*told))), asked, frames, api_name="film", **_QUEUE
    )
    rolled.then(
        lambda shown: gr.Slider(maximum=len(shown) - 1, value=len(shown) - 1),
        frames,
        scrubber,
        api_visibility="private",
    )
    scrubber.change(lambda call: gr.Gallery(selected_index=int(call)), scrubber, frames, api_visibility="private")


def _controls(desk: Desk) -> list[Any]:
    """The fields of Wanted, in their order."""
    return [
        gr.Dropdown(desk.picture_models, value=desk.picture_models[0], label="Model"),
        gr.Slider(-3, 3, 0, step=0.1, label="Brightness, in stops"),
        gr.Slider(0, MOST_SATURATION, 1, step=0.05, label="Saturation"),
        gr.Slider(0, 1, 1, step=0.05, label="Strength"),
        gr.Slider(0, 20, 0, step=1, label="Network calls (0: the model's own)"),
        gr.Number(0, precision=0, label="Seed", minimum=0, maximum=2**53),
    ]


def _compare(desk: Desk) -> None:
    names = [*desk.picture_models, *BASELINES]
    with gr.Row():
        upload = gr.File(label="Dark photograph", file_types=list(SUFFIXES), height=130)
        truth = gr.File(label="Its truth, for scores (optional)", file_types=list(SUFFIXES), height=130)
    with gr.Row():
        one = gr.Dropdown(names, value=names[0], label="Left")
        other = gr.Dropdown(names, value="gamma to mean", label="Right")
    button = gr.Button("Compare", variant="primary")
    slider = gr.ImageSlider(type="filepath", label="left | right", interactive=False, max_height=640)
    table = gr.Dataframe(headers=["method", "time", *results.score_titles()], interactive=False, label="Scores")
    about = gr.Markdown()
    run = _plainly(lambda path, bright, *chosen: results.compare(desk, path, bright, chosen))
    button.click(run, [upload, truth, one, other], [slider, table, about], api_name="compare", **_QUEUE)


def _batch(desk: Desk) -> None:
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            uploads = gr.File(label="Dark photographs", file_count="multiple", file_types=list(SUFFIXES), height=200)
            controls = _controls(desk)
        with gr.Column(scale=3):
            button = gr.Button("Brighten them", variant="primary")
            states = gr.Dataframe(headers=["file", "state"], interactive=False, label="Queue")
            archive = gr.File(label="All of them", interactive=False, height=90)

    def run(paths: list[str] | None, *told: Any) -> Any:
        yield from results.batch(desk, paths, Wanted(*told))

    button.click(_plainly(run), [uploads, *controls], [states, archive], api_name="batch", **_QUEUE)


def _raw(desk: Desk) -> None:
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            upload = gr.File(label="Raw file of a camera", file_types=sorted(RAW_SUFFIXES), height=130)
            automatic = gr.Checkbox(True, label="Automatic exposure")
            stops = gr.Slider(0, 8.5, 5, step=0.1, label="Stops longer, where not automatic")
            cameras = [("by EXIF", ""), *((name, name) for name in shipped_cameras())]
            camera = gr.Dropdown(cameras, value="", label="Whose noise")
            iso = gr.Number(0, label="ISO, for files that do not say it", minimum=0)
            button = gr.Button("Expose longer", variant="primary")
            files = gr.File(label="DNG, and PNG of 16 bit", file_count="multiple", interactive=False)
        with gr.Column(scale=3):
            slider = gr.ImageSlider(type="filepath", label="as taken | longer", interactive=False, max_height=640)
            about = gr.Markdown()
    run = _plainly(lambda *told: results.expose(desk, *told))
    button.click(run, [upload, stops, automatic, camera, iso], [slider, files, about], api_name="expose", **_QUEUE)


def _still_life(desk: Desk) -> str:
    path = desk.place("still-life.png")
    write_picture(path, Picture(darken(still_life(600, 400), seed=0)))
    return str(path)


def _plainly(work: Callable[..., Any]) -> Callable[..., Any]:
    """What fails says so in one sentence on the page, and the server goes on."""

    def error(failure: Exception, told: tuple[Any, ...]) -> gr.Error:
        uploads = [value for value in told if isinstance(value, str)]
        return gr.Error(results.plain(failure, uploads[0] if uploads else None), print_exception=False)

    @wraps(work)
    def run(*told: Any) -> Any:
        try:
            return work(*told)
        except _FAILURES as failure:
            raise error(failure, told) from None

    @wraps(work)
    def steps(*told: Any) -> Any:
        try:
            yield from work(*told)
        except _FAILURES as failure:
            raise error(failure, told) from None

    return steps if isgeneratorfunction(work) else run
