"""The study of diffusion on dim pictures: its variants and its course; it goes on where it was stopped."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from studies import pictures, small_study, study
from typer.testing import CliRunner

import lowlight.commands.study as command
from lowlight.checkpoints import load
from lowlight.cli import app
from lowlight.study.config import load_study, shipped_studies, tasks_of


def test_shipped_studies():
    assert shipped_studies() == ["ddpm_on_dim", "ddpm_on_dim_small"]
    large, small = (load_study(name) for name in shipped_studies())
    assert list(large.variants) == list(small.variants)
    tasks = tasks_of(large)
    assert len(tasks) == 3 * len(large.variants)
    assert tasks[0].config.network["widths"] == [128, 128, 256, 256, 512, 512]
    assert {task.variant for task in tasks if task.trained_as == "control"} == {
        "control", "fixed_small_log", "fixed_large", "fixed_large_log",
    }  # fmt: skip
    assert tasks_of(small, ["stages.0.iterations=7"])[5].config.stages[0].iterations == 7
    assert tasks_of(small)[4].config.network["layers"] == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"variants": {}}, "variants must name the control at least"),
        ({"seeds": []}, "seeds must list one at least"),
        ({"seeds": [2**64]}, r"seed must be 0 to 2\^64 - 1"),
        ({"generated": 1}, "generated must be at least 2"),
        (
            {"claims": [{"text": "x", "variants": ["none"], "measure": "mse"}]},
            "claims must be of variants control, .*none",
        ),
        ({"variants": {"a b": {}, "a-b": {}}}, "variants must have names that differ in letters and digits"),
        ({"colour": 1}, "unknown key colour"),
        ({"base": "nowhere"}, "no study nowhere: give a YAML file or one of ddpm_on_dim"),
        ({"variants": {"late": {"network.start": 12}}, "claims": []}, "variant late: .*start must lie in .* got 12"),
        ({"variants": {"one": {"network.width": 3}}, "claims": []}, "variant one: .*unknown key width"),
    ],
)
def test_impossible_studies(tmp_path, values, words):
    said = study(small_study(tmp_path, **values), "--scenes", 4, "-o", tmp_path / "out", code=2)
    assert re.search(words, said), said
    assert not (tmp_path / "out" / "trainings").exists()


def test_bad_pictures(tmp_path):
    plan, out = small_study(tmp_path), tmp_path / "out"
    folder = pictures(tmp_path / "few", 2, (14, 14))
    assert "2 pictures are to be held out of 2: at least one more is needed" in study(
        plan, "--data", folder, "-o", out, code=2
    )
    # of another size than the two that are held out, then not square
    for size, words in (((10, 10), "one square size, got 10 x 10 and 14 x 14"), ((10, 12), "square size, got")):
        Image.new("RGB", size).save(folder / "small.png")
        assert words in study(plan, "objective.size=null", "--data", folder, "-o", out, code=2)
    (folder / "a.png").write_bytes(b"no picture")
    assert re.search(r"a\.png", study(plan, "--data", folder, "-o", out, code=2))
    assert "give either --data FOLDER or --scenes COUNT" in study(plan, "-o", out, code=2)
    assert "no picture in" in study(plan, "--data", tmp_path / "nowhere", "-o", out, code=2)
    assert not (out / "trainings").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study run to its end without a stop: its plan, pictures and output."""
    folder = tmp_path_factory.mktemp("study")
    plan, data = small_study(folder), pictures(folder / "pictures")
    said = study(plan, "--data", data, "-o", folder / "out")
    assert "8/8 betas, seed 1: trained" in said
    assert "2/8 large, seed 0: training of control" in said
    return plan, data, folder / "out"


def results(folder):
    found = (json.loads(path.read_text()) for path in sorted((folder / "results").iterdir()))
    return {(one["about"]["variant"], one["about"]["seed"]): one["rows"] for one in found}


def test_what_a_study_says_to_programs(finished):
    plan, data, out = finished
    request = ["study", str(plan), "--data", str(data), "-o", str(out)]
    told = json.loads(CliRunner().invoke(app, [*request, "--json"]).stdout)
    assert [Path(path).name for path in told["reports"]] == ["report.md", "report.html"]
    assert (len(told["results"]), told["of"], told["finished"]) == (8, 8, True)
    assert study(*request[1:], "-q") == ""


def test_a_study_is_whole(finished):
    _, _, out = finished
    rows = results(out)
    assert len(rows) == 8
    assert {path.name for path in (out / "trainings").iterdir()} == {
        f"{name}-seed{seed}" for name in ("control", "brightness-1", "betas") for seed in (0, 1)
    }
    assert [row["view"] for row in rows["control", 0]] == ["start"] * 2 + ["equal noise"] * 2 + ["generated"]
    assert load(out / "trainings/control-seed0/last.pt", device="cpu").name == "ddpm"
    # at the control's own time both are the same; other betas reach its noise at another one
    control, betas = rows["control", 0], rows["betas", 0]
    assert [row["mse"] for row in control[:2]] == [row["mse"] for row in control[2:4]]
    assert [row["mse"] for row in betas[:2]] != [row["mse"] for row in betas[2:4]]
    assert rows["large", 0] != control
    assert rows["control", 1] != control
    text, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    for words in ("Which knob helps most", "Chance: as new pictures the 2 held-out ones",
                  "more noise is better (start):", "8 of 8 results", "4 to train on, 2 held", "brightness 1",
                  "standard deviation over seeds"):  # fmt: skip
        assert words in text
        assert words in page
    # the curve of damage over darkness, the brightest first
    assert re.search(r"## Damage over darkness\n\n\| brightness .*\n.*\n\| 1 \|.*\n\| 0\.5 \|.*\n\n!", text)
    shown = re.findall(r"\]\((figures/[\w.]+)\)", text)
    assert len(shown) == page.count("data:image/png;base64,") >= 4
    assert all((out / name).is_file() for name in shown)
    assert 'src="figures' not in page


def test_some_variants_and_no_pictures(finished, monkeypatch):
    """Of what is there: the control and one variant, what is claimed of them, tables and curves alone."""
    plan, data, out = finished
    study(plan, "--data", data, "-o", out, "--only", "large", "--no-pictures")
    text, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert "4 of 4 results are there" in text
    assert "Of the study's 4 variants 2 (--only)" in text
    assert "more noise is better" in text
    assert "betas" not in text.split("## How the study was read")[1].split("## Which knob")[1]
    assert re.findall(r"\]\(figures/([\w.]+)\)", text) == ["shifts.png", "losses.png"]
    assert page.count("data:image/png;base64,") == len(list((out / "figures").iterdir())) == 2
    # what the first seed has not yet, another one shows
    for path in (out / "results").glob("*-seed0.json"):
        path.rename(path.with_suffix(".aside"))
    monkeypatch.setattr(command, "_run", lambda *_: False)
    study(plan, "--data", data, "-o", out, code=130)
    assert "Pictures, seed 1" in (out / "report.md").read_text()
    for path in (out / "results").glob("*.aside"):
        path.rename(path.with_suffix(".json"))
    said = study(plan, "--data", data, "-o", out, "--only", "wide", code=2)
    assert "--only must name one of control; large; brightness 1; betas, got wide" in said
    monkeypatch.undo()
    study(plan, "--data", data, "-o", out)
    assert "8 of 8 results are there" in (out / "report.md").read_text()


def test_a_stopped_study_goes_on(finished, tmp_path, monkeypatch):
    """Stopped inside a training and between two: the same results, and nothing that is there is made again."""
    plan, data, out = finished
    real, begun = command.run_training, []

    def stopping(trainer, title, voice):
        begun.append((title, trainer.step))
        if len(begun) == 2:
            return trainer.run(stop=lambda: trainer.step >= 2)
        return len(begun) != 4 and real(trainer, title, voice)

    monkeypatch.setattr(command, "run_training", stopping)
    go = (plan, "--data", data, "-o", tmp_path / "out")
    assert "2 of 8 results are there; the same command goes on" in study(*go, code=130)
    assert "2 of 8 results are there" in (tmp_path / "out/report.md").read_text()
    assert "3 of 8 results are there" in study(*go, code=130)
    study(*go)
    # the second training went on in its middle, the third was not begun before
    assert [step for _, step in begun[:5]] == [0, 0, 2, 0, 0]
    assert results(tmp_path / "out") == results(out)
    count = len(begun)
    study(*go)
    assert len(begun) == count
    assert "comes from another study" in study(plan, "stages.0.iterations=5", *go[1:], code=2)
    path = tmp_path / "out/results/control-seed0.json"
    path.write_text("{")
    assert "is damaged: delete it" in study(*go, code=2)


def test_the_page_has_a_study_of_other_factors(tmp_path):
    page = (Path(__file__).parents[1] / "docs/ddpm.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "own.yaml").write_text(written)
    plan = load_study(str(tmp_path / "own.yaml"))
    brightness = {task.variant: task.config.objective["brightness"] for task in tasks_of(plan) if task.seed == 0}
    assert {"brightness 0.7": 0.7, "brightness 0.05": 0.05, "control": 0.5}.items() <= brightness.items()
