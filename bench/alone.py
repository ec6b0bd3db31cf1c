"""How much of a picture depends on what is computed beside it: threads, and the pictures of its batch.

python bench/alone.py [--models wavelet-anchored-small ...] [--size 600x400] [--dtypes float32 bfloat16] [--threads 1 2]

Four pictures are enhanced one at a time on one thread, then one at a time and as a batch on each number of threads; of
each result, how many 8-bit values are others than at first, by how much at most, and the seconds a
picture, of all threads together.
"""

import argparse
import time

import torch

import lowlight
from lowlight.scenes.synthetic import darken, still_life
from lowlight.shipped import shipped_models


def pictures(width: int, height: int, count: int = 4) -> torch.Tensor:
    """[count, 3, H, W] uint8, dark."""
    dark = [darken(still_life(width, height, seed=i), seed=i) for i in range(count)]
    return torch.stack([torch.from_numpy(d).movedim(-1, 0) for d in dark]).mul(255).round().to(torch.uint8)


def compare(name: str, dtype: str, dark: torch.Tensor, threads: list[int]) -> None:
    def alone() -> torch.Tensor:
        return torch.stack([lowlight.enhance(picture, name, dtype=dtype) for picture in dark])

    def batch() -> torch.Tensor:
        return lowlight.enhance(dark, name, dtype=dtype)

    torch.set_num_threads(1)
    first = alone()
    for count in threads:
        torch.set_num_threads(count)
        for way, run in (("alone", alone), ("batch", batch)):
            begun = time.process_time()
            made = run()
            seconds = (time.process_time() - begun) / len(dark)
            off = (made.int() - first.int()).abs()
            print(f"{name:24} {dtype:9} {count} threads {way}: {int((off > 0).sum()):8,} of {off.numel():,} differ, "
                  f"by {int(off.max())} at most; {seconds:.2f} s a picture", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = [model.name for model in shipped_models() if model.takes == "picture"]
    parser.add_argument("--models", nargs="+", default=named)
    parser.add_argument("--size", default="600x400")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    dark = pictures(width, height)
    for name in options.models:
        for dtype in options.dtypes:
            compare(name, dtype, dark, options.threads)


if __name__ == "__main__":
    main()
