"""Flicker of brightened videos: `python bench/flicker.py [--model NAME ...] [--frames 16] [--sheet FILE.png]`.

A still life under a camera that stands still, pans or sees something pass, as dark and noisy frames. Flicker is the
standard deviation of a pixel over time on the still scene, in 255ths, of the input, of `lowlight enhance` on every
frame, and of `lowlight video`; PSNR is against the scene in full light, after a gain to its mean. The first 8 frames,
in which an average fills, do not count.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

import lowlight
from lowlight.files.pictures import Picture, write_picture
from lowlight.scenes.synthetic import darken, still_life
from lowlight.video.steady import Steady

WIDTH, HEIGHT, RATE, FILLED = 300, 200, 25, 8
PAN = 3  # pixels a frame


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["default"])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--sheet", help="write the last frames side by side: each by itself, video, truth")
    return parser.parse_args()


def scenes(count: int) -> dict[str, list[np.ndarray]]:
    """Frames in full light by what moves."""
    wide = still_life(WIDTH + PAN * count, HEIGHT, seed=3)
    still, thing = wide[:, :WIDTH], wide[100:140, 200:240]
    passing = []
    for i in range(count):
        frame = still.copy()
        frame[60:100, 12 * i % (WIDTH - 40) :][:, :40] = thing
        passing.append(frame)
    return {
        "still": [still] * count,
        "pan": [wide[:, PAN * i : PAN * i + WIDTH] for i in range(count)],
        "passing": passing,
    }


def tensor(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)


def flicker(frames: list[Tensor]) -> tuple[float, float]:
    """Standard deviation over time in 255ths: of a pixel, of the whole picture's mean."""
    stack = torch.stack(frames[FILLED:])
    return 255 * stack.std(dim=0).mean().item(), 255 * stack.mean(dim=(1, 2, 3)).std().item()


def psnr(frames: list[Tensor], truth: list[Tensor]) -> float:
    values = []
    for frame, scene in zip(frames[FILLED:], truth[FILLED:], strict=True):
        fitted = (frame * (scene.mean() / frame.mean())).clamp(0, 1)
        values.append(-10 * (fitted - scene).square().mean().log10().item())
    return float(np.mean(values))


def main() -> None:
    options = arguments()
    rows = []
    print(f"{'model':<26}{'scene':<10}{'what':<14}{'flicker':>9}{'of means':>10}{'mean':>8}{'PSNR':>8}")
    for model in options.model:
        system = lowlight.load(model)
        for name, frames in scenes(options.frames).items():
            truth = [tensor(frame) for frame in frames]
            dark = [tensor(darken(frame, seed=i)) for i, frame in enumerate(frames)]
            steady = Steady(system)
            results = {
                "input": dark,
                "enhance": [lowlight.enhance(frame, system) for frame in dark],
                "video": [steady(frame, i / RATE) for i, frame in enumerate(dark)],
            }
            for what, found in results.items():
                pixel, means = flicker(found)
                shown = f"{pixel:>9.2f}{means:>10.3f}" if name == "still" else " " * 19
                mean = torch.stack(found).mean().item()
                print(f"{model:<26}{name:<10}{what:<14}{shown}{mean:>8.3f}{psnr(found, truth):>8.2f}", flush=True)
            rows.append(torch.cat([results["enhance"][-1], results["video"][-1], truth[-1]], dim=2))
    if options.sheet:
        sheet = torch.cat(rows, dim=1).clamp(0, 1).permute(1, 2, 0)
        write_picture(options.sheet, Picture(sheet.contiguous().numpy()))


if __name__ == "__main__":
    main()
