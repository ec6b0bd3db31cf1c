"""Does the raw model help without a filter array? `python bench/other_sensors.py FOLDER [--ratio 100 --iso 3200]`.

Bright pictures become short exposures with SonyA7S2's noise: of its Bayer array, of a monochrome sensor (luma), and as
a linear DNG, which keeps three colours a place, demosaiced bilinearly from an array that begins elsewhere, so that what
is made a mosaic again is nowhere what the sensor measured; of one exposure, and the mean of eight, whose noise the ISO
no longer tells. PSNR in dB to the power 1 / 2.2 of the exposure without noise: times the ratio, by the raw model, and
by the default model of pictures (after the gain that fits best to the truth, for its exposure is its own).
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import lowlight
from lowlight.cameras.cameras import load_camera
from lowlight.cameras.noise_models import typical_parameters
from lowlight.files.pictures import LUMA, read_srgb
from lowlight.raw.files import RawPicture, denormalise, normalise
from lowlight.raw.packing import pack, unpack
from lowlight.raw.render import GAMMA, interpolate
from lowlight.raw.sensors import RGGB, one_colour_a_place
from lowlight.scenes.synthetic_raw import CAMERA, short_exposure
from lowlight_ext import raw_noise

MERGED = 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="bright pictures, such as LOL-v1's eval15/high")
    parser.add_argument("--ratio", type=float, default=100)
    parser.add_argument("--iso", type=float, default=3200)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def planes(mosaic: np.ndarray) -> np.ndarray:
    """[3, H, W] of a mosaic of float32 in [0, 1], RGGB."""
    return interpolate(mosaic, RGGB, np.ones(3, np.float32))


def shifted(colours: np.ndarray) -> np.ndarray:
    """The mosaic of an array that begins at another pixel than the one these three planes are from."""
    return one_colour_a_place(colours[:, 1:-1, 1:-1].transpose(1, 2, 0))


def cases(srgb: np.ndarray, ratio: float, iso: float, seed: int) -> Iterator[tuple[str, RawPicture, np.ndarray]]:
    """Name, the short exposure and the packed long one without noise."""
    raw, clean = short_exposure(srgb, ratio=ratio, iso=iso, seed=seed * MERGED)
    yield "Bayer array", raw, clean
    luma = pack((srgb @ np.float32(LUMA)) ** np.float32(GAMMA), RGGB)
    noise = typical_parameters(load_camera(CAMERA), "P+G+r", K=load_camera(CAMERA).K(iso), ratio=ratio)
    short = raw_noise(torch.from_numpy(luma)[None], noise, seed)[0].numpy() / np.float32(ratio)
    yield "monochrome", replace(raw, mosaic=denormalise(short, raw), kind="grey"), luma
    more = [short_exposure(srgb, ratio=ratio, iso=iso, seed=seed * MERGED + i)[0].mosaic for i in range(1, MERGED)]
    truth = pack(shifted(planes(unpack(clean, RGGB))), RGGB)
    for name, exposures in (("linear, one exposure", [raw.mosaic]), (f"linear, {MERGED} merged", [raw.mosaic, *more])):
        # numbers as they are stored, black not taken off
        mean = np.mean([planes(mosaic / np.float32(65535)) for mosaic in exposures], axis=0)
        mosaic = np.rint(shifted(mean) * 65535).astype(np.uint16)
        yield name, replace(raw, mosaic=mosaic, kind="linear"), truth


def psnr(packed: np.ndarray, truth: np.ndarray) -> float:
    light = (np.clip(values, 0, 1) ** (1 / GAMMA) for values in (packed, truth))
    return float(-10 * np.log10(np.mean(np.subtract(*light) ** 2)))


def by_pictures(raw: RawPicture) -> Callable[[np.ndarray], np.ndarray]:
    """Packed, as bright as the truth given, from the default model of pictures."""
    dark = unpack(normalise(raw), RGGB)
    shown = np.stack([dark] * 3) if raw.kind == "grey" else planes(dark)
    bright = lowlight.enhance(np.ascontiguousarray((shown ** (1 / GAMMA)).transpose(1, 2, 0)))
    packed = pack(bright.mean(axis=2) if raw.kind == "grey" else one_colour_a_place(bright), RGGB) ** GAMMA
    return lambda truth: packed * (packed * truth).sum() / (packed**2).sum()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    model = lowlight.load("exposurediffusion-small")
    found: dict[str, list[list[float]]] = defaultdict(list)
    paths = sorted(path for path in options.folder.iterdir() if path.is_file())
    for seed, path in enumerate(paths):
        for name, raw, truth in cases(read_srgb(path), options.ratio, options.iso, seed):
            exposed = lowlight.enhance_raw(raw, model, ratio=options.ratio, camera=CAMERA).packed
            results = (normalise(raw) * options.ratio, exposed, by_pictures(raw)(truth))
            found[name].append([psnr(result, truth) for result in results])
    print(f"{len(paths)} pictures, ratio {options.ratio:g}, ISO {options.iso:g}, mean PSNR in dB")
    print(f"{'':24}{'times the ratio':>18}{'raw model':>18}{'model of pictures':>20}")
    for name, rows in found.items():
        amplified, exposed, brightened = np.mean(rows, axis=0)
        print(f"{name:24}{amplified:18.2f}{exposed:18.2f}{brightened:20.2f}")


if __name__ == "__main__":
    main()
