"""What a DDPM is made of: its network and its process."""

from __future__ import annotations

from dataclasses import dataclass

from ...diffusion.schedules import DIFFUSERS_BETAS, PREDICTIONS, SPACINGS, VARIANCES


@dataclass(frozen=True)
class DDPMConfig:
    """A DDPM's network and process; the defaults are those of the diffusers library's basic training tutorial.

    widths: a level each. layers: residual blocks a level on the way down, one more on the way up. attention_levels: of
    widths, those with attention after each block. head_width: channels a head, null for one head. cosine_first,
    frequency_shift: of the embedding of t; downsample_padding: 1, or 0 for zeros to the right and below.
    schedule, beta_start, beta_end, zero_terminal_snr: the betas (diffusion.schedules). prediction: what the network
    gives. variance: of DDPM's steps. clip: bound of the estimates of x0, null for none. tables: in which dtype rows are
    formed; "float32" rounds as diffusers does.
    anchor: of the anchored process, the side of the grid of means that a blurred picture has; 0 for the plain one.
    anchor_gain: the anchor is the picture's times this: 1 over the factor of dim pictures makes a bright estimate.
    start: the time at which a picture is noised that `enhance_tensor` denoises. spacing: of fewer steps than all.
    """

    widths: tuple[int, ...] = (128, 128, 256, 256, 512, 512)
    layers: int = 2
    attention_levels: tuple[int, ...] = (4,)
    head_width: int | None = 8
    norm_groups: int = 32
    norm_eps: float = 1e-5
    cosine_first: bool = True
    frequency_shift: int = 0
    downsample_padding: int = 1
    timesteps: int = 1000
    schedule: str = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    zero_terminal_snr: bool = False
    prediction: str = "epsilon"
    variance: str = "fixed_small"
    clip: float | None = 1.0
    tables: str = "float64"
    anchor: int = 0
    anchor_gain: float = 1.0
    start: int = 50
    spacing: str = "linspace"

    def __post_init__(self):
        for name in ("widths", "attention_levels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        known = {
            "schedule": DIFFUSERS_BETAS, "prediction": PREDICTIONS, "variance": VARIANCES, "spacing": SPACINGS,
            "tables": ("float64", "float32"), "downsample_padding": (0, 1), "frequency_shift": (0, 1),
        }  # fmt: skip
        for name, values in known.items():
            got, listed = getattr(self, name), ", ".join(map(str, values))
            _require(got in values, name, f"be one of {listed}", repr(got))
        _require(bool(self.widths), "widths", "name a level at least", self.widths)
        for width in self.widths:
            fits = self.norm_groups >= 1 and width >= 1 and width % self.norm_groups == 0
            _require(fits, "widths", f"be multiples of norm_groups {self.norm_groups}", self.widths)
        _require(self.widths[0] % 2 == 0 and self.widths[0] >= 4, "widths", "begin with 4 or more, even", self.widths)
        levels = range(len(self.widths))
        _require(set(self.attention_levels) <= set(levels), "attention_levels", f"lie in 0 .. {levels[-1]}",
                 self.attention_levels)  # fmt: skip
        for width in (*(self.widths[i] for i in self.attention_levels), self.widths[-1]):
            fits = self.head_width is None or (self.head_width >= 1 and width % self.head_width == 0)
            _require(fits, "head_width", f"divide the width {width} of a level with attention", self.head_width)
        _require(self.layers >= 1, "layers", "be positive", self.layers)
        _require(self.timesteps >= 1, "timesteps", "be positive", self.timesteps)
        _require(0 <= self.start < self.timesteps, "start", f"lie in 0 .. timesteps - 1 = {self.timesteps - 1}",
                 self.start)  # fmt: skip
        betas = (self.beta_start, self.beta_end)
        _require(all(0 < beta < 1 for beta in betas), "beta_start, beta_end", "lie in (0, 1)", betas)
        _require(self.clip is None or self.clip > 0, "clip", "be positive or null", self.clip)
        _require(self.anchor >= 0 and self.anchor_gain > 0, "anchor, anchor_gain", "not be negative",
                 (self.anchor, self.anchor_gain))  # fmt: skip
        epsilon = self.prediction == "epsilon"
        _require(not (self.zero_terminal_snr and epsilon), "prediction", "not be epsilon with zero_terminal_snr",
                 repr(self.prediction))  # fmt: skip
        _require(epsilon or not self.anchor, "prediction", "be epsilon with an anchor", repr(self.prediction))

    @property
    def steps(self) -> int:
        """Network calls that a picture takes, noised at `start`: every time from there down."""
        return self.start + 1

    @property
    def multiple(self) -> int:
        """Sides of pictures are multiples of this."""
        return 2 ** (len(self.widths) - 1)


def _require(condition: bool, name: str, expectation: str, value: object) -> None:
    if not condition:
        raise ValueError(f"DDPMConfig: {name} must {expectation}, got {value}")
