"""What is timed of the tone curve: pictures of which half lies above the knee, and dark ones, of which nothing does."""

import rivals_tone
import torch
from case import Case, Setting

import lowlight_ext as e


def tones(on: Setting) -> list[Case]:
    batch = on.shape[0]
    gamma, scale, knee = (torch.full((batch, n), v, device=on.device, dtype=on.dtype)
                          for n, v in ((3, 0.5), (3, 1.2), (1, 0.8)))  # fmt: skip
    made = []
    for name, layout in {"": torch.contiguous_format, ", channels_last": torch.channels_last}.items():
        for kind, white in {"": 1.0, ", dark": 0.2}.items():

            def picture(layout=layout, white=white):
                return ((white * on.rand()).to(memory_format=layout),)

            # a logarithm 28, an exponential 22, and above the knee one more
            operations = 60 if kind else 86
            made.append(
                Case(f"tone_curve{kind}{name}", "tone_curve", "test_tone.py", 2, operations, picture,
                     lambda x: e.tone_curve(x, gamma, scale, knee),
                     lambda x: rivals_tone.tone_curve(x, gamma, scale, knee), {}, ("PyTorch", 1 / 8))
            )  # fmt: skip
    return made
