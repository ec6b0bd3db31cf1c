"""What stands at the foot of each command's help; tests/test_shown.py parses every line."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "enhance": (
        "lowlight enhance dark.jpg -o bright.jpg --brightness 0.5",
        "lowlight enhance photos -o bright --recursive --strength 0.8",
        "lowlight enhance dark.dng -o long.dng --ratio 100",
        "lowlight enhance photos -o bright --devices all --json",
        "lowlight enhance s3://photos/dark -r -o s3://photos/bright --cluster auto",
    ),
    "video": (
        "lowlight video clip.mp4 -o bright.mp4 --brightness -0.5",
        "lowlight video frames -o bright --fps 24",
    ),
    "sample": ("lowlight sample dark.png --bright truth.png", "lowlight sample dark.dng --size 1200x800"),
    "demo": ("lowlight demo --browser", "lowlight demo --host 0.0.0.0 --port 8000 --max-megapixels 20"),
    "serve": ("lowlight serve", "lowlight serve -m default -m diffll-small --port 9000 --queue 16 --timeout 30"),
    "models": ("lowlight models",),
    "check": ("lowlight check LOL-v1 --split all",),
    "calibrate": ("lowlight calibrate frames -o mine.json",),
    "evaluate": (
        "lowlight evaluate LOL-v1 --split eval15 --seed 0 --seed 1 --seed 2",
        "lowlight evaluate pairs -m diffll-small -m mine.safetensors --markdown scores.md",
    ),
    "evaluate-raw": ("lowlight evaluate-raw SID --split test -m exposurediffusion-small",),
    "steps": ("lowlight steps default LOL-v1 --split eval15",),
    "train": (
        "lowlight train diffll_small --data LOL-v1 --split train --val-split heldout -o run",
        "lowlight train wavelet_anchored_small --data pairs -o run stages.0.batch=2",
    ),
    "ablate": ("lowlight ablate --data LOL-v1 --split train --score-split heldout --budget-minutes 60",),
    "export": (
        "lowlight export run/last.pt mine.safetensors --dtype int8",
        "lowlight export default -o model.onnx",
    ),
    "study": (
        "lowlight study ddpm_on_dim_small --scenes 512 -o study",
        "lowlight study ddpm_on_dim --data butterflies -o study stages.0.iterations=2000",
    ),
    "plot": (
        "lowlight plot run -o losses.svg",
        "lowlight plot run-a run-b -o compared.png",
        "lowlight plot steps.json -o steps.png",
        "lowlight plot bench/results/amd-epyc.json --chart speed -o speed.png",
    ),
    "generate": ("lowlight generate ddpm-folder -n 16 -o pictures --size 32 --steps 100",),
    "tune": ("lowlight tune", "lowlight tune diffll-small --size 1920x1080"),
    "lpips": ("lowlight lpips", "lowlight lpips vgg"),
    "info": ("lowlight info",),
}


def epilog(command: str) -> str | None:
    """The examples of a command, a paragraph each; None where it has none."""
    lines = EXAMPLES.get(command)
    return "\n\n".join(("Examples:", *lines)) if lines else None
