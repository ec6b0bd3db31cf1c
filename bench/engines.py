"""Time one network call by several engines: `python bench/engines.py`, beside it how far each is from eager PyTorch.

eager: as the package runs it. formulas: the paper's network, one PyTorch call a step, NCHW, the others' rival.
compile: torch.compile of the package's call or of the formulas, the weights frozen. onnx: ONNX Runtime of the exported
call. openvino: as `--engine openvino` runs it, and the same graph compiled for one size. fast: in bfloat16. What is not
installed is left out and named. Making the graphs takes minutes. --shared: as in networks.py. --pictures FOLDER
[--models ...]: whole pictures instead, by the engines of the package, every fourth of a folder.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from plain_networks import plain_networks
from records import machine, save
from timing import Clock, Contender, begin, race

import lowlight
from lowlight.engines import openvino
from lowlight.engines.measuring import measure
from lowlight.engines.use import narrowed
from lowlight.exporting import export_program
from lowlight.files.pictures import read_picture
from lowlight.systems.anlightendiff.system import AnlightenDiff
from lowlight.systems.base import System, channels_last
from lowlight.systems.calls import Call
from lowlight.systems.diffll.system import DiffLL
from lowlight.systems.exposurediffusion.network import published
from lowlight.systems.exposurediffusion.system import ExposureDiffusion
from lowlight.systems.networks import networks

CPU = torch.device("cpu")
# a system, which of its networks, and height and width of the largest map of a 600 x 400 photograph
NETWORKS: dict[str, tuple[Callable, str, tuple[int, int]]] = {
    "default, U-Net": (lowlight.load, "network", (54, 78)),
    "default, restorer": (lowlight.load, "restorer", (200, 300)),
    "diffll-small, U-Net": (lambda: lowlight.load("diffll-small"), "network", (104, 152)),
    "DiffLL, published": (DiffLL, "network", (104, 152)),
    "AnlightenDiff, 320 x 224": (AnlightenDiff, "network", (224, 320)),
    "ExposureDiffusion, U-Net": (ExposureDiffusion, "network", (208, 304)),
    "ExposureDiffusion, NAFNet": (lambda: ExposureDiffusion(published("naf2")), "network", (208, 304)),
}


def inputs_of(call: Call, height: int, width: int) -> list[torch.Tensor]:
    """One picture's, of sides that the network takes."""
    largest, found = max(call.multiples.values()), []
    for name, x in call.inputs.items():
        x = x[:1] if call.batch else x
        if multiple := call.multiples.get(name):
            sides = (-(-side // largest) * multiple for side in (height, width))
            x = torch.randn(*x.shape[:2], *sides).mul(0.5).contiguous(memory_format=torch.channels_last)
        found.append(x)
    return found


def call_of(system: System, part: str) -> Call:
    return networks(system)[part].call


def formulas(system: System, part: str, make: Callable = lambda call: call.module) -> Callable:
    module = make(call_of(copy.deepcopy(system).to(memory_format=torch.contiguous_format), part))

    def run(*xs: torch.Tensor) -> torch.Tensor:
        with plain_networks():
            return module(*(x.contiguous() for x in xs))

    return run


def in_bfloat16(system: System, part: str) -> Callable:
    """As --precision fast runs it with torch."""
    module = call_of(narrowed(copy.deepcopy(system)), part).module
    return lambda *xs: module(*(x.to(torch.bfloat16) if x.is_floating_point() else x for x in xs)).float()


def compiled(call: Call) -> Callable:
    import torch._inductor.config

    torch._inductor.config.freezing = True
    return torch.compile(call.module, dynamic=False)


def onnx(call: Call) -> Callable:
    import onnxruntime

    written = torch.onnx.export(export_program(call), dynamo=True, input_names=list(call.inputs), verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    data = written.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(*xs: torch.Tensor) -> torch.Tensor:
        given = {name: x.contiguous().numpy() for name, x in zip(call.inputs, xs, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    return run


def engines(system: System, part: str, wanted: list[str]) -> Iterator[tuple[str, Callable]]:
    """Each engine's name and what it makes of the call, eager PyTorch first."""
    call = call_of(system, part)
    yield "eager", call.module
    makers: dict[str, Callable] = {
        "formulas": lambda _: formulas(system, part),
        "formulas compile": lambda _: formulas(system, part, compiled),
        "compile": compiled,
        "torch fast": lambda _: in_bfloat16(system, part),
        "onnx": onnx,
    }
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("exact", "fast"):
            for varied in (True, False):
                name = f"openvino {precision}{'' if varied else ', one size'}"
                file = Path(folder) / "network.xml"
                makers[name] = lambda call, p=precision, v=varied, f=file: openvino.Graph(f, call, p, v)
        for name, make in makers.items():
            if any(each in name for each in wanted):
                try:
                    yield name, make(call)
                except ImportError as error:
                    print(f"  {name}: left out ({error})")


def measured(
    name: str, make: Callable, part: str, size: tuple[int, int], options: argparse.Namespace, clock: Clock
) -> list[dict]:
    system = channels_last(make().eval().requires_grad_(False))
    call = call_of(system, part)
    inputs = inputs_of(call, *size)
    found, differences, exact = {}, {}, call.module(*inputs)
    for engine, run in engines(system, part, options.engines):
        try:
            differences[engine] = ((run(*inputs) - exact).abs().max() / exact.abs().max()).item()
        # an engine's fault is no reason to lose the others' figures
        except RuntimeError as error:
            print(f"  {engine}: failed ({str(error).strip().splitlines()[-1]})")
            continue
        found[engine] = Contender(run, [tuple(inputs)], CPU, clock)
    times = dict(zip(found, race(list(found.values()), options.seconds, rounds=3), strict=True))
    rival = "formulas" if "formulas" in times else "eager"
    print(f"{name}, {size[1]} x {size[0]}, times as fast as {rival}")
    rows = []
    for engine, timing in times.items():
        gain = times[rival].median_ms / timing.median_ms
        print(f"  {engine:<26}{timing.median_ms:>9.1f} ms{gain:>7.2f}x   difference {differences[engine]:.1e}")
        rows.append({"network": name, "engine": engine, "threads": options.threads, "gain": round(gain, 3),
                     "median_ms": round(timing.median_ms, 2), "difference": differences[engine]})  # fmt: skip
    return rows


def pictures(options: argparse.Namespace, clock: Clock) -> None:
    """Seconds and distance from exact torch of whole pictures."""
    for model in options.models:
        ways = [(engine, precision) for precision in ("exact", "fast") for engine in ("torch", "openvino")]
        systems = {
            f"{engine} {precision}": lowlight.load(model, device="cpu", engine=engine, precision=precision)
            for engine, precision in ways
            if any(each in engine for each in options.engines)
        }
        for path in sorted(options.pictures.glob("*.png"))[::4]:
            low = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)[None].contiguous()
            for name, each in measure(systems, low, 1, clock=clock).items():
                print(f"{model:<24}{path.name:<12}{name:<16}{each.milliseconds:>8.0f} ms"
                      f"{each.decibels:>8.1f} dB   largest {each.difference:.1e}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--engines", nargs="+", default=["formulas", "compile", "torch", "onnx", "openvino"])
    parser.add_argument("--pictures", type=Path, help="a folder of 8-bit PNGs")
    parser.add_argument("--models", nargs="+", default=["default", "diffll-small", "anlightendiff-small"])
    parser.add_argument("--seconds", type=float, default=3.0, help="for the runs of one engine")
    options, clock = begin(parser)
    if options.pictures:
        pictures(options, clock)
        return
    for name, (make, part, size) in NETWORKS.items():
        if options.only in name:
            rows = measured(name, make, part, size, options, clock)
            print(save(rows, machine(CPU, options.threads), "-engines", ("network", "engine", "threads")), flush=True)


if __name__ == "__main__":
    main()
