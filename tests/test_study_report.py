"""What a study's report says of its figures, and how its page is written."""

import pytest
import torch

from lowlight.study.answers import anchor_words, best_words, few_seeds
from lowlight.study.config import Claim, StudyConfig, tasks_of
from lowlight.study.measuring import STUDIED, relative_shift, shift
from lowlight.study.page import Cells, Figure, Heading, Points, Text, write_html, write_markdown
from lowlight.study.summary import Difference, difference, report_of, share_of_shift, verdict


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
