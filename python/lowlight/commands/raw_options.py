"""Options of `lowlight enhance` for raw files, checked before any work, and one raw file exposed with them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from .jobs import Job, PlanError
from .pipeline import Opened, Write

if TYPE_CHECKING:
    from ..cameras.cameras import Camera
    from ..raw.exif import Shot
    from ..systems.base import RawSystem, System


@dataclass(frozen=True)
class RawOptions:
    """As given; None and False where not."""

    ratio: float | None = None
    ratio_from: str | None = None
    auto: bool = False
    camera: str | None = None
    iso: float | None = None
    render: str | None = None
    output_raw: str | None = None

    def says_ratio(self) -> bool:
        return self.ratio is not None or self.ratio_from is not None

    def given(self) -> list[str]:
        """The options that were used, as they are typed."""
        return [f"--{f.name.replace('_', '-')}" for f in fields(self) if getattr(self, f.name) not in (None, False)]


@dataclass(frozen=True)
class RawWork:
    """What all raw files of a command share."""

    system: RawSystem
    ratio: float | None
    reference: Shot | None
    camera: Camera | None
    iso: float | None
    steps: int | None
    renderer: str
    seed: int
    quality: int | None
    model: str

    def __call__(self, job: Job) -> Opened:
        from ..expose import enhance_raw, read_photograph
        from ..files.atomic import check_way, make_way

        check_way(job.target)
        raw = read_photograph(job.source)

        def compute() -> Write:
            result = enhance_raw(
                raw, self.system, ratio=self.ratio, reference=self.reference, camera=self.camera, iso=self.iso,
                steps=self.steps, seed=self.seed,
            )  # fmt: skip
            # LibRaw develops from the file
            result.path = job.source

            def write() -> tuple[str, ...]:
                make_way(job.target)
                return str(result), *result.save(job.target, self.renderer, self.quality)

            return write

        height, width = raw.mosaic.shape
        return Opened(width, height, self.model, str(self.system.device), compute)


def raw_suffix(options: RawOptions, output: str | None, format: str | None = None) -> str:
    """The extension of what raw files become in a folder, `format` if given.

    Raises PlanError where the options contradict the output.
    """
    from ..files.pictures import FORMATS
    from ..raw.develop import RENDERERS

    if options.render not in (None, *RENDERERS):
        raise PlanError(f"--render must be one of {', '.join(RENDERERS)}, got {options.render!r}")
    output = output or ""
    dng = output.lower().endswith(".dng") or options.output_raw is not None
    if options.render is not None and dng:
        raise PlanError("--render is for pictures, and a DNG leaves the rendering to a raw converter")
    if options.output_raw is None:
        return format or ".png"
    if options.output_raw.lower() != "dng":
        raise PlanError(f"--output-raw must be dng, the one raw format that is written, got {options.output_raw!r}")
    if output.lower().endswith(tuple(FORMATS)):
        raise PlanError(f"--output-raw dng writes .dng files, and {output} is another one's name")
    return ".dng"


def raw_work(
    system: RawSystem, options: RawOptions, steps: int | None, seed: int, quality: int | None, model: str
) -> RawWork:
    """What to do with each file, the camera and the reference read; --auto where no ratio is said.

    Raises PlanError for what cannot be.
    """
    from ..cameras.cameras import CameraError, load_camera
    from ..expose import MOST_STEPS, shot_of
    from ..files.pictures import PictureError

    ways = [options.ratio is not None, options.ratio_from is not None, options.auto]
    if sum(ways) > 1:
        raise PlanError(
            "say how many times longer to expose by one of --ratio NUMBER, --ratio-from REFERENCE (its ISO and time) "
            "and --auto (from the brightness, as without any); more than one was given"
        )
    if steps is not None and steps > MOST_STEPS:
        raise PlanError(f"a model for raw makes 1 to {MOST_STEPS} network calls, got {steps}")
    try:
        reference = None if options.ratio_from is None else shot_of(options.ratio_from)
        camera = None if options.camera is None else load_camera(options.camera)
    except (PictureError, CameraError) as error:
        raise PlanError(str(error)) from None
    renderer = options.render or "own"
    return RawWork(system, options.ratio, reference, camera, options.iso, steps, renderer, seed, quality, model)


def check_unused(system: System, options: RawOptions) -> None:
    """Raises PlanError where options for raw are given to a system of sRGB pictures."""
    given = options.given()
    if given:
        are = "is" if len(given) == 1 else "are"
        raise PlanError(
            f"{', '.join(given)} {are} for models of raw, and {type(system).__name__} works on sRGB pictures "
            "(--model chooses another)"
        )
