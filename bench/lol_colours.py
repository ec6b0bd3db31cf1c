"""LOL-v1's truths disagree: eval15's hold more colour than those of our485 that show the same scene.

python bench/lol_colours.py LOL-v1 [--model wavelet-anchored-small] [--factors 1 1.65]

For each picture of eval15 the one of our485 whose dark picture looks alike; between their truths the matrix that fits
best (pixels of 8 x 8 means), what is left before and after it, and the ratio of their HSL saturations. Then the PSNR of
a model that is told the truth's mean, its results' saturation times each factor, on eval15 and the held-out split; told
the mean of the twin's truth, the best that a memory of our485's exposures can do; and what becomes of eval15's truths
as dark pictures, which should stay as they are.
"""

import argparse

import numpy as np
import torch

import lowlight
from lowlight.data.sets.pairs import find_pairs
from lowlight.files.pictures import read_srgb
from lowlight.metrics.scores import psnr
from lowlight.systems.light import saturated

ALIKE = 0.05  # mean squared difference of logarithms of 50 x 50 means, their own mean taken off


def means(path, size: int) -> np.ndarray:
    rgb = read_srgb(path)
    height, width = (side // size * size for side in rgb.shape[:2])
    return rgb[:height, :width].reshape(height // size, size, width // size, size, 3).mean((1, 3))


def fingerprint(path) -> np.ndarray:
    logs = np.log(means(path, 50) + 0.01)
    return (logs - logs.mean()).ravel()


def saturation(rgb: np.ndarray) -> float:
    most, least = rgb.max(-1), rgb.min(-1)
    return ((most - least) / np.maximum(1 - np.abs(most + least - 1), 1e-3)).mean()


def compare_truths(root: str) -> dict[str, float]:
    """Means of the twins' truths, by the names of eval15's pictures."""
    known = find_pairs(root, "our485")
    prints = np.stack([fingerprint(pair.low) for pair in known])
    ratios, remembered = [], {}
    for pair in find_pairs(root, "eval15"):
        distance = ((prints - fingerprint(pair.low)) ** 2).mean(1)
        twin = known[distance.argmin()]
        if distance.min() > ALIKE:
            print(f"{pair.name:>6}  no twin")
            continue
        remembered[pair.name] = read_srgb(twin.high).mean().item()
        theirs, ours = (means(path, 8).reshape(-1, 3) for path in (twin.high, pair.high))
        matrix, *_ = np.linalg.lstsq(theirs, ours, rcond=None)
        before, after = (np.sqrt(((x - ours) ** 2).mean()) for x in (theirs, theirs @ matrix))
        ratios.append(saturation(ours) / saturation(theirs))
        rows = "  ".join(" ".join(f"{value:5.2f}" for value in row) for row in matrix.T)
        levels = f"mean {ours.mean():.2f} and {remembered[pair.name]:.2f}"
        print(
            f"{pair.name:>6}  as {twin.name:>4}: {levels}, rms {before:.3f} -> {after:.4f}, "
            f"saturation x{ratios[-1]:.2f}, {rows}"
        )
    print(f"median ratio of saturations: {np.median(ratios):.2f}")
    return remembered


def picture(path) -> torch.Tensor:
    return torch.from_numpy(read_srgb(path)).permute(2, 0, 1)[None]


def score(root: str, system, factors: list[float]) -> None:
    for split in ("eval15", "heldout"):
        found = {factor: [] for factor in factors}
        for pair in find_pairs(root, split):
            high = picture(pair.high)
            bright = system.enhance_tensor(picture(pair.low), mean=high.mean().item())
            for factor in factors:
                found[factor].append(psnr(saturated(bright, factor), high).item())
        for factor, values in found.items():
            print(f"{split}: told the mean, saturation x{factor:g}: {np.mean(values):.2f} dB")


def score_remembered(root: str, system, means: dict[str, float]) -> None:
    values = []
    for pair in find_pairs(root, "eval15"):
        bright = system.enhance_tensor(picture(pair.low), mean=means.get(pair.name))
        values.append(psnr(bright, picture(pair.high)).item())
    print(f"eval15: told the mean of the twin's truth, where it has one: {np.mean(values):.2f} dB")


def enhance_truths(root: str, system) -> None:
    off, kept = [], []
    for pair in find_pairs(root, "eval15"):
        high = picture(pair.high)
        same = system.enhance_tensor(high)
        off.append(abs(same.mean().item() / high.mean().item() - 1))
        kept.append(psnr(same, high).item())
    within, equal = sum(value <= 0.05 for value in off), kept.count(float("inf"))
    print(
        f"eval15's truths brightened: mean off by {np.mean(off):.1%}, at most {max(off):.1%}, {within} within 5 %; "
        f"{equal} of {len(kept)} equal, the worst {min(kept):.1f} dB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--model")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 1.65])
    arguments = parser.parse_args()
    remembered = compare_truths(arguments.root)
    if arguments.model:
        system = lowlight.load(arguments.model)
        score(arguments.root, system, arguments.factors)
        score_remembered(arguments.root, system, remembered)
        enhance_truths(arguments.root, system)


if __name__ == "__main__":
    main()
