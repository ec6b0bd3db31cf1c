"""The study of diffusion on dim pictures: its variants, measures, report; it goes on where it was stopped."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from train_process import write_config
from typer.testing import CliRunner

import lowlight.commands.study as command
from lowlight.checkpoints import load
from lowlight.cli import app
from lowlight.data.batches.picture_batches import Dimming, PictureBatches, hold_out, read_square
from lowlight.scenes.views import scene_views
from lowlight.study.answers import anchor_words, best_words, few_seeds
from lowlight.study.config import Claim, StudyConfig, load_study, shipped_studies, tasks_of
from lowlight.study.measuring import STUDIED, relative_shift, shift
from lowlight.study.page import Cells, Figure, Heading, Points, Text, write_html, write_markdown
from lowlight.study.summary import Difference, difference, report_of, share_of_shift, verdict
from lowlight.training.config_files import from_dict, load_config
from lowlight.training.objectives.ddpm import DDPMObjective, DDPMOptions, HeldOut

TRAINING = {
    "system": "ddpm",
    "network": {
        "widths": [8, 16], "layers": 1, "attention_levels": [], "norm_groups": 4, "timesteps": 12, "start": 4,
    },
    "objective": {"size": 12, "held_out": 2},
    "stages": [{"batch": 2, "iterations": 4, "learning_rate": 1e-3}],
    "warmup": 0,
    "ema": 0.0,
    "checkpoint_every": 1,
    "log_every": 2,
}  # fmt: skip
VARIANTS = {
    "control": {},
    "large": {"network.variance": "fixed_large"},
    "brightness 1": {"objective.brightness": 1.0},
    "betas": {"network.beta_end": 0.05},
}


def pictures(folder, count=6, size=(14, 20)):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    for number in range(count):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def small_study(folder, **values):
    training = write_config(folder / "training.yaml", **TRAINING)
    claims = [{"text": "more noise is better", "variants": ["large"], "measure": "shift"}]
    plan = {"training": str(training), "variants": VARIANTS, "claims": claims, "seeds": [0, 1], "generated": 3,
            "generate_steps": 2}  # fmt: skip
    path = folder / "plan.yaml"
    # the first variant is the control
    path.write_text(yaml.safe_dump(plan | values, sort_keys=False))
    return path


def study(*arguments, code=0):
    result = CliRunner().invoke(app, ["study", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return " ".join(result.output.replace("│", " ").split())


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
    monkeypatch.setattr(command, "_run", lambda work: False)
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

    def stopping(trainer, title):
        begun.append((title, trainer.step))
        if len(begun) == 2:
            return trainer.run(stop=lambda: trainer.step >= 2)
        return len(begun) != 4 and real(trainer, title)

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


def synthetic(shifts, claims=()):
    """Tasks and results whose relative shift of variant and seed is given, all else alike."""
    seeds = range(len(next(iter(shifts.values()))))
    plan = StudyConfig("ddpm_dim_small", {name: {} if i == 0 else {"network.beta_end": 0.02 + i / 100}
                                          for i, name in enumerate(shifts)}, list(claims), list(seeds))  # fmt: skip
    tasks = tasks_of(plan)
    rows = {"mse": 4.0, "shift_r": 0.02, "shift_g": -0.02, "shift_b": 0.02}
    made = {
        task.name: {
            "rows": [
                {"view": view, "picture": "0", "relative_shift": shifts[task.variant][task.seed], **rows}
                for view in ("start", "generated")
            ]
        }
        for task in tasks
    }
    return plan, tasks, report_of(tasks, made)


def test_what_the_figures_say():
    shifts = {"control": [0.3, 0.32], "less": [0.1, 0.14], "more": [0.5, 0.6], "mixed": [0.29, 0.34]}
    shifts["same"] = shifts["control"]
    plan, tasks, report = synthetic(shifts)
    found = difference(report, plan, "less", "relative_shift", "start")
    assert (found.ours, found.control, found.sure, found.better) == pytest.approx((0.12, 0.31, True, True))
    assert found.words == "less: relative shift 0.1200 against 0.3100 (difference -0.1900 ± 0.0141)"
    said = {
        (name, better): verdict(Claim("x", [name], "relative_shift", better=better), report, plan)[0]
        for name in ("less", "more", "mixed", "same")
        for better in (True, False)
    }
    opposite, seen, few = (
        "the opposite was seen.",
        "seen here.",
        "the seeds agree, but are too few to tell it from chance.",
    )
    endings = {
        ("less", True): seen, ("less", False): opposite, ("more", True): few, ("more", False): few,
        ("mixed", True): "the seeds do not agree.", ("same", True): "no difference at all.",
    }  # fmt: skip
    for key, ending in endings.items():
        assert said[key].endswith(ending)
    said = best_words(report, tasks, plan, "generated")
    assert said[0].startswith("The least has less: relative shift 0.1200 against 0.3100")
    assert said[1:] == [
        "Less than the control, told from chance at 95 %: less.",
        "Less with all seeds, too few to be sure of: none.",
        "More than the control, told from chance at 95 %: none.",
    ]
    assert share_of_shift(report, "control") == pytest.approx(0.1)
    assert verdict(Claim("x", ["less"], "spread"), report, plan) == ["less: not measured."]
    plan, tasks, report = synthetic({"control": [0.3], "less": [0.1]})
    assert verdict(Claim("x", ["less"], "relative_shift"), report, plan)[0].endswith("not decided by one seed.")
    assert best_words(report, tasks, plan, "generated")[-1] == "One seed decides nothing."
    assert few_seeds(report, tasks) == []
    plan, tasks, report = synthetic({"control": [0.3, 0.3], "both": [0.1, 0.4]})
    assert best_words(report, tasks, plan, "generated")[1].endswith("at 95 %: none.")
    report.rows = [row for row in report.rows if (row["variant"], row["seed"]) != ("both", 1)]
    assert few_seeds(report, tasks) == ["both"]


@pytest.mark.parametrize(("values", "agreed", "sure"), [
    ([-0.19, -0.21], True, True), ([-0.1, -0.3], True, False), ([-0.1, 0.3], False, False), ([-0.2], False, False),
    ([-0.1, -0.2, -0.3], True, False), ([-0.1, -0.2, -0.3, -0.3], True, True), ([-0.2] * 30, True, True),
])  # fmt: skip
def test_students_t(values, agreed, sure):
    """Bounds of the t distribution; scipy's of the same values, two-sided p: 0.032, 0.30, 0.64, -, 0.074, 0.018."""
    found = Difference("x", STUDIED[0], "start", 0.0, 0.0, values)
    assert (found.agreed, found.sure) == (agreed, sure)


def test_pictures_that_are_all_alike_are_no_cure():
    """Of new pictures the knob whose brightness varies as it should is named too, and what an anchor does."""
    plan, tasks, report = synthetic({"control": [1.2, 1.3], "alike": [0.01, 0.01], "anchored": [0.1, 0.1]})
    spread = {"control": 4.0, "alike": 0.2, "anchored": 1.0}
    for row in report.rows:
        if row["view"] == "generated":
            row["spread"] = spread[row["variant"]]
    said = best_words(report, tasks, plan, "generated")
    assert said[0].startswith("The least has alike: relative shift 0.0100")
    assert "the knobs with 0.5 to 2 times the right spread the least has anchored: relative shift 0.1000" in said[1]
    assert anchor_words(report, tasks, plan) == []
    plan.variants["anchored"] = {"network.anchor": 4}
    (told,) = anchor_words(report, tasks_of(plan), plan)
    assert told.startswith("New pictures: 92 % less of it than in the control. anchored: relative shift 0.1000")
    assert told.endswith("brightness varies 1.00 times as much as from training picture to training picture.")


def test_shift_of_known_pictures():
    truth = torch.full((2, 3, 4, 4), 0.2)
    result = truth.clone()
    result[0, 0] += 0.03
    result[1, 2] -= 0.06
    torch.testing.assert_close(shift(result, truth), torch.tensor([0.01, 0.02], dtype=torch.float64), rtol=1e-5, atol=0)
    torch.testing.assert_close(relative_shift(result, truth), shift(result, truth) / 0.2, rtol=1e-5, atol=0)


def test_a_page_is_written_twice(tmp_path):
    figure = Figure("a.png", b"\x89PNG", "a < b")
    parts = [Heading("One & two"), Text("<text>"), Points(["x", "y"]), Cells([{"name": "a|b", "n": "1"}]), figure]
    write_markdown(tmp_path / "page.md", "Title", parts)
    write_html(tmp_path / "page.html", "Title", parts)
    text, page = (tmp_path / "page.md").read_text(), (tmp_path / "page.html").read_text()
    assert (tmp_path / "figures/a.png").read_bytes() == figure.png
    assert "## One & two\n\n<text>\n\n- x\n- y\n\n| name | n |" in text
    assert "![a](figures/a.png)\n\na < b" in text
    for words in ("<h2>One &amp; two</h2>", "<p>&lt;text&gt;</p>", "<li>y</li>", "<td>a|b</td><td>1</td>",
                  'src="data:image/png;base64,iVBORw=="'):  # fmt: skip
        assert words in page


def test_pictures_made_dim(tmp_path):
    folder = pictures(tmp_path, 5, (32, 32))
    paths = tuple(sorted(folder.iterdir()))
    bright = read_square(paths, 16)
    assert bright.shape == (5, 3, 16, 16)
    np.testing.assert_allclose(Dimming(0.25)(bright, 0), bright / np.float32(1020), rtol=1e-6)
    exposed = Dimming(0.5, exposed=True)(bright, 0)
    assert exposed.mean() / (bright.mean() / 255) == pytest.approx(0.5, abs=0.1)
    assert not np.array_equal(exposed, Dimming(0.5, exposed=True)(bright, 1))
    np.testing.assert_array_equal(exposed[:2], Dimming(0.5, exposed=True)(bright[:2], 0))
    train, held = hold_out(paths, 2)
    assert len(train) == 3
    assert sorted([*train, *held]) == list(paths)
    batches = PictureBatches(Dimming(1.0)(bright, 0), seed=1)
    batch = batches.batch(0, 20)
    kept = torch.from_numpy(batches.pictures)[batches.indices(0, 20)]
    same, flipped = ([torch.equal(a, b) for a, b in zip(batch, x, strict=True)] for x in (kept, kept.flip(-1)))
    assert all(a != b for a, b in zip(same, flipped, strict=True))
    assert 0 < sum(same) < 20
    torch.testing.assert_close(batches.batch(7, 3), batch[7:10], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"brightness must lie in \(0, 1\]"):
        Dimming(0.0)


def test_scenes_differ_in_brightness():
    made = list(scene_views(9, 16))
    assert all(picture.shape == (16, 16, 3) and picture.dtype == np.uint8 for picture in made)
    np.testing.assert_array_equal(made[3], list(scene_views(4, 16))[3])
    means = [picture.mean() for picture in made]
    assert max(means) > 1.5 * min(means)


def test_training_settings(tmp_path):
    """Splits, offset noise by sample, a validation; what a configuration must not say."""
    data = pictures(tmp_path / "data", 6)
    config = from_dict(TRAINING | {"objective": {"size": 12, "held_out": 2, "offset_noise": 0.5}})
    found = {split: DDPMObjective.find(config, data, split) for split in ("train", "heldout", "all")}
    assert [len(paths) for paths in found.values()] == [4, 2, 6]
    assert not set(found["train"]) & set(found["heldout"])
    with pytest.raises(ValueError, match="split must be one of train, heldout, all, got 'eval15'"):
        DDPMObjective.find(config, data, "eval15")
    batch, stage, losses = torch.full((2, 3, 12, 12), 0.25), config.stages[0], {}
    for name, settings in {"plain": {}, "offset": {"offset_noise": 0.5}}.items():
        objective = DDPMObjective(from_dict(TRAINING | {"objective": {"size": 12, **settings}}), torch.device("cpu"))
        seen = []

        def silent(x_t, t, seen=seen):
            seen.append(x_t)
            return torch.zeros_like(x_t)

        objective.system.predict = silent
        losses[name] = np.mean([objective(batch, stage, 2 * k)["noise"].item() for k in range(20)])
        # half of a batch sees what the whole one sees there
        objective(batch[1:], stage, 0, skip=1)
        torch.testing.assert_close(seen[-1], seen[0][1:], rtol=0, atol=0)
    # the variance of the noise is 1, and 1 + 0.25 with offsets
    assert losses["plain"] == pytest.approx(1, abs=0.05)
    assert losses["offset"] == pytest.approx(1.25, abs=0.1)
    system = DDPMObjective(config, torch.device("cpu")).system
    scores = DDPMObjective.validator(config, found["heldout"])(system, tmp_path / "sheet.png")
    assert set(scores) == set(HeldOut.better)
    assert (tmp_path / "sheet.png").is_file()
    for changes, words in (
        (["stages.0.crop=8"], "crop must be null"),
        (["objective.size=30"], "objective.size must be a multiple of 4, got 30"),
        (["objective.held_out=0"], "held_out must be positive"),
        (["objective.offset_noise=-1.0"], "offset_noise must not be negative"),
    ):
        with pytest.raises(ValueError, match=words):
            load_config("ddpm_dim_small", changes)
    assert DDPMOptions().size == 128


def test_a_training_off_a_terminal_says_how_far_it_is(tmp_path, monkeypatch):
    training, data = write_config(tmp_path / "training.yaml", **TRAINING), pictures(tmp_path / "data")
    go = ["train", str(training), "--data", str(data), "-o", str(tmp_path / "run")]
    quiet = CliRunner().invoke(app, [*go, "stages.0.iterations=1"])
    assert (quiet.exit_code, "iteration" in quiet.output.replace("1 iterations", "")) == (0, False)
    monkeypatch.setattr("lowlight.commands.terminal._SILENCE", 0.0)
    said = CliRunner().invoke(app, [*go[:-1], str(tmp_path / "other")])
    assert said.exit_code == 0, said.output
    assert re.search(r"loss \d\.\d+, iteration 2 of 4, 0:00:\d\d left", said.output)


def test_the_page_has_a_study_of_other_factors(tmp_path):
    page = (Path(__file__).parents[1] / "docs/ddpm.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "own.yaml").write_text(written)
    plan = load_study(str(tmp_path / "own.yaml"))
    brightness = {task.variant: task.config.objective["brightness"] for task in tasks_of(plan) if task.seed == 0}
    assert {"brightness 0.7": 0.7, "brightness 0.05": 0.05, "control": 0.5}.items() <= brightness.items()
