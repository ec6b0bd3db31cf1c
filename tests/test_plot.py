"""`lowlight plot`: each kind of file is drawn as what it is, the rest is said."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("matplotlib", reason="needs the extra [train]")

from lowlight.cli import app
from lowlight.plots.drawing import figure_of

ROW = {
    "shape": "1x3x4x4", "dtype": "float32", "memory": "kept", "threads": 2, "cpu": "a processor", "gpu": None,
    "copy_gb_s": 50.0, "matrix_gflop_s": 100.0, "floor_ms": 1.0, "operations": 2e7,
}  # fmt: skip
BENCH = [
    {**ROW, "op": "haar_dwt2d", "implementation": "cpp", "median_ms": 2.0},
    {**ROW, "op": "haar_dwt2d", "implementation": "PyTorch", "median_ms": 8.0},
    {**ROW, "op": "haar_dwt2d, channels_last", "implementation": "cpp", "median_ms": 2.0},
    {**ROW, "op": "haar_dwt2d, channels_last", "implementation": "PyTorch", "median_ms": 90.0},
]


def score(mean):
    return {"mean": mean, "std": None}


STEPS = {
    "model": "a/mine.safetensors",
    "table": [
        {"split": "eval15", "sampler": s, "steps": n, "pictures": 3, "psnr": score(20.0 + n), "ssim_rgb": score(0.8)}
        for s in ("ddim", "drds")
        for n in (1, 2, 5)
    ],
}
RAW = {
    "set": "SID test",
    "summary": [
        {"method": f"m, {n}", "calls": n, "ratio": 100, "protocol": "blind", "raw_psnr": 30.0 + n, "raw_ssim": 0.9}
        for n in (1, 3)
    ],
}


def write(folder, content):
    path = Path(folder) / "results.json"
    path.write_text(json.dumps(content))
    return path


def training(folder, loss=1.0, validation=True):
    folder.mkdir()
    rows = "".join(f"{step},{step},{loss / step},{loss / 2},,1e-4\n" for step in (1, 2, 3))
    (folder / "log.csv").write_text("step,seconds,loss,noise,grad_norm,lr\n" + rows)
    if validation:
        (folder / "validation.csv").write_text("step,seconds,psnr,psnr_gt_mean,ssim\n2,2,18,20,0.8\n3,3,19,21,0.8\n")
    return folder


def lines(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}


def test_a_training_has_every_term_and_score(tmp_path):
    run = training(tmp_path / "run")
    above, below = figure_of([run]).axes
    assert lines(above) == {"loss": ([1, 2, 3], [1, 1 / 2, pytest.approx(1 / 3)]), "noise": ([1, 2, 3], [0.5] * 3)}
    assert lines(below) == {"PSNR": ([2, 3], [18, 19]), "PSNR GT-mean": ([2, 3], [20, 21])}
    # by one of its logs it is the same
    assert lines(figure_of([run / "validation.csv"]).axes[0]) == lines(above)


def test_a_short_training_can_be_seen(tmp_path):
    """Of one row of the log a line has no length; without a validation there is no empty panel."""
    run = training(tmp_path / "run", validation=False)
    rows = (run / "log.csv").read_text().splitlines()
    (run / "log.csv").write_text("\n".join(rows[:2]) + "\n")
    (alone,) = figure_of([run]).axes
    assert alone.get_xlabel() == "iteration"
    assert [line.get_marker() for line in alone.get_lines()] == [".", "."]


def test_trainings_are_compared(tmp_path):
    runs = [training(tmp_path / "a"), training(tmp_path / "b", loss=2.0, validation=False)]
    above, below = figure_of(runs).axes
    assert lines(above)["b"] == ([1, 2, 3], [2, 1, pytest.approx(2 / 3)])
    assert lines(below) == {"a: PSNR GT-mean": ([2, 3], [20, 21])}


def test_steps_are_lines_over_network_calls(tmp_path):
    psnr, ssim = figure_of([write(tmp_path, STEPS)]).axes
    assert [line.get_xdata().tolist() for line in psnr.get_lines()] == [[1, 2, 5]] * 2
    assert psnr.get_lines()[0].get_ydata().tolist() == [21, 22, 25]
    assert ssim.get_ylabel() == "SSIM"
    raw, _ = figure_of([write(tmp_path, RAW)]).axes
    assert raw.get_lines()[0].get_ydata().tolist() == [31, 33]


def test_sizes_are_lines_of_systems_and_forms(tmp_path):
    row = {"system": "a system", "cpu": "a processor", "copy_gb_s": 20.0}
    runs = [("600x400", "here", 1.0), ("600x400", "formulas", 2.0), ("1920x1080", "here", 8.0)]
    rows = [{**row, "size": s, "form": f, "seconds": t, "peak_mb": 100 * t} for s, f, t in runs]
    seconds, peak = figure_of([write(tmp_path, rows)]).axes
    here, formulas = (line.get_xydata().tolist() for line in seconds.lines[:2])
    assert here == [[0.24, 1.0], [2.0736, 8.0]]
    assert formulas == [[0.24, 2.0]]
    assert peak.lines[0].get_ydata().tolist() == [100, 800]
    with pytest.raises(ValueError, match="at two sizes"):
        figure_of([write(tmp_path, rows[:2])])


def test_a_bench_is_a_roofline_or_bars(tmp_path):
    path = write(tmp_path, BENCH)
    panel = figure_of([path]).axes[0]
    # 2e7 operations in 2 ms, of 1 ms at 50 GB/s
    assert ([0.4], [10.0]) in [(list(line.get_xdata()), list(line.get_ydata())) for line in panel.get_lines()]
    (bars,) = figure_of([path], "speed").axes
    # contiguous, without gradient: what is mostly called
    assert [bar.get_width() for bar in bars.patches] == [4.0]


def test_a_folder_of_no_training_is_said(tmp_path):
    with pytest.raises(ValueError, match="is neither a training's folder nor a JSON file"):
        figure_of([tmp_path])


def test_what_cannot_be_drawn_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training(tmp_path / "run")
    write(tmp_path, STEPS)
    Path("a.txt").write_text("nothing")
    Path("b.json").write_text("{}")

    def shown(*arguments):
        result = CliRunner().invoke(app, ["plot", *arguments], env={"COLUMNS": "300"})
        assert result.exit_code == 2
        return result.output

    assert "neither a training's folder nor a JSON file" in shown("a.txt", "-o", "x.png")
    assert "holds nothing that can be drawn" in shown("b.json", "-o", "x.png")
    assert "are for trainings" in shown("run", "results.json", "-o", "x.png")
    assert "as steps, not as roofline" in shown("results.json", "-o", "x.png", "--chart", "roofline")
    assert "--chart must be one of" in shown("results.json", "-o", "x.png", "--chart", "pie")
    assert "cannot draw a plot as 'x.bmp'" in shown("run", "-o", "x.bmp")
    assert not any(Path().glob("x.*"))
    result = CliRunner().invoke(app, ["plot", "run", "-o", "new/x.svg"])
    assert result.exit_code == 0
    assert Path("new/x.svg").read_text().startswith("<?xml")
