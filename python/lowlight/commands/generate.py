"""`lowlight generate`: new pictures from a DDPM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..seeds import first_seed
from . import completion
from .scoring import Device
from .seed_option import seed_option
from .terminal import Json, Quiet, Verbose, Voice, progress_bar

# torch is imported inside the functions: `lowlight --help` must not wait for it

_AT_ONCE = 16


def generate(
    model: Annotated[
        str,
        typer.Argument(
            help="A DDPM: last.pt, an exported file, or a folder of diffusers.", autocompletion=completion.models
        ),
    ],
    *,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Pictures.")] = 16,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the pictures: 00000.png ...")] = Path(
        "generated"
    ),
    size: Annotated[int, typer.Option(min=1, help="Side in pixels: that of the pictures it was trained on.")] = 32,
    steps: Annotated[int | None, typer.Option(min=1, help="Network calls (default: all timesteps).")] = None,
    seed: Annotated[int, seed_option("Another seed, other pictures.")] = 0,
    like: Annotated[
        Path | None, typer.Option(help="Folder of pictures whose blur an anchored process begins with, in turn.")
    ] = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Generate pictures from noise."""
    import torch

    from ..checkpoints import load, parse_device
    from ..data.batches.mixed_batches import find_photographs
    from ..data.batches.picture_batches import read_square
    from ..files.pictures import Picture, write_picture
    from ..systems.ddpm.system import DDPM

    voice = Voice(quiet, verbose, json).checked()
    paths = [output / f"{number:05d}.png" for number in range(count)]
    try:
        system = load(model, device=parse_device(device))
        if not isinstance(system, DDPM):
            raise ValueError(f"generate: {type(system).__name__} brightens pictures; a DDPM makes new ones")
        if (like is None) != (system.config.anchor == 0):
            wanted = "has an anchor: give --like FOLDER" if like is None else "has no anchor: leave --like out"
            raise ValueError(f"generate: this model {wanted}")
        blurred = torch.from_numpy(read_square(tuple(find_photographs(like)), size)) / 255 if like else None
        output.mkdir(parents=True, exist_ok=True)
        with progress_bar(count, voice=voice) as bar:
            for first in range(0, count, _AT_ONCE):
                numbers = torch.arange(first, min(count, first + _AT_ONCE))
                told = None if blurred is None else blurred[numbers % len(blurred)].to(system.device)
                center = None if told is None else system.center(told)
                shape, seeds = (len(numbers), size, size), numbers + first_seed(seed, 20)
                made = system.generate(shape, steps=steps, seed=seeds, center=center).float().cpu()
                for number, picture in zip(numbers.tolist(), made, strict=True):
                    pixels = picture.movedim(0, -1).contiguous().numpy()
                    write_picture(paths[number], Picture(pixels))
                    if verbose:
                        bar.say(f"{paths[number]}: seed {seeds[number - first]}")
                    bar.advance()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    voice.tell(f"{output}: {count} pictures of {size} x {size}")
    voice.answer({"folder": str(output), "size": size, "pictures": [path.name for path in paths]})
