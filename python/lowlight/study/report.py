"""The report of a study: what was run, tables, what the figures say of every claim, which knob helps, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..metrics.measures import recipe_of
from ..scoring.report import Report
from ..scoring.tables import cell, conditions
from ..systems.ddpm.config import DDPMConfig
from ..training.objectives.ddpm import DDPMOptions
from .answers import anchor_words, best_words, far_off, few_seeds
from .drawn import curves, pictures_of
from .measuring import EQUAL, GENERATED, GENERATED_MEASURES, START
from .page import Cells, Heading, Part, Points, Text, write_html, write_markdown
from .summary import report_of, share_of_shift, verdict
from .work import Work

_KNOWN = (
    "The study's unusual settings are those of the diffusers library's basic training tutorial, so its noise_timesteps "
    "of 50 most likely means t = 50 of T = 1000: the control here; T = 50, noised at its last time, is a variant.",
    "Text and caption of the study disagree on one beta (0.015, 0.15): both are run.",
    "The variance is of the sampler alone: variants that differ in it share one training. With _log the standard "
    "deviation is formed through a logarithm, which changes roundings and nothing else.",
    "Another range of betas noises more or less at the same time t. The study compares at the same t; the second table "
    "compares where alpha_bar is the control's.",
    "An anchored process that makes new pictures is told the blur of the held-out ones, and so their mean colours; the "
    "others are told nothing.",
    "Over the seeds: 'seen here' and 'told from chance' are Student's t test at 95 %, which takes much of two seeds.",
)


def write_report(
    work: Work, name: str, source: str, overrides: Sequence[str], notes: Sequence[str], pictures: bool = True
) -> list[Path]:
    """report.md (its figures in figures/) and report.html in the work's folder, of the results that are there.

    name: of the study. source: where the pictures are from. overrides: settings of all trainings. notes: remarks.
    pictures: show them, beside tables and curves.
    """
    title = f"Diffusion on dim pictures: {name}"
    report = report_of(work.tasks, work.results, work.more)
    parts: list[Part] = [
        *_what(work, report, source, overrides, notes),
        *_answers(work, report),
        *_tables(work, report),
    ]
    parts += curves(work, report)
    if pictures:
        parts += pictures_of(work)
    markdown, page = work.folder / "report.md", work.folder / "report.html"
    write_markdown(markdown, title, parts)
    write_html(page, title, parts)
    return [markdown, page]


def _what(work: Work, report: Report, source: str, overrides: Sequence[str], notes: Sequence[str]) -> list[Part]:
    config, plan, there = work.tasks[0].config, work.plan, list(work.results.values())
    options, machine = DDPMOptions(**config.objective), conditions()
    few = few_seeds(report, work.tasks)
    trained = {(a["trained_as"], a["seed"]): a["train_seconds"] for a in (result["about"] for result in there)}
    stage, network = config.stages[0], DDPMConfig(**config.network)
    side = f"{options.size} x {options.size} pixels" if options.size else "their own size"
    lines = [
        f"Pictures: {source}, {len(work.found[0])} to train on, {len(work.found[1])} held out, at {side}; "
        f"dim ones are times {options.brightness:g} unless a variant says otherwise, flipped at random.",
        f"Training of each: {there[0]['about']['iterations']} iterations of {stage.batch}, {config.optimizer} at "
        f"{stage.learning_rate:g} ({stage.schedule}, {config.warmup} steps of warm-up), gradients clipped at "
        f"{config.clip_norm}; U-Net widths {', '.join(map(str, network.widths))}, "
        f"blocks a level: {network.layers}" + (f"; settings: {' '.join(overrides)}." if overrides else "."),
        f"Seeds {', '.join(map(str, plan.seeds))}; {len(there)} of {len(work.tasks)} results are there, from "
        f"{len(trained)} trainings of together {sum(trained.values()) / 60:.0f} minutes by the clock.",
        f"New pictures: {plan.generated} a variant and seed, {plan.generate_steps} network calls each.",
        f"Machine: {machine['gpu'] or machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}.",
        *notes,
    ]
    if few:
        lines.append(f"One seed alone, which decides nothing: {'; '.join(few)}.")
    return [Heading("What was run"), Points(lines), Heading("How the study was read"), Points(_KNOWN)]


def _answers(work: Work, report: Report) -> list[Part]:
    parts: list[Part] = [Heading("Which knob helps most")]
    where = {
        EQUAL: "Pictures noised and denoised, all at the control's noise",
        GENERATED: "New pictures from noise alone",
    }
    for view, text in where.items():
        parts += [Text(f"{text}:"), Points(best_words(report, work.tasks, work.plan, view))]
    parts.append(Text(_caution(work, report)))
    anchored = anchor_words(report, work.tasks, work.plan)
    if anchored:
        parts += [Heading("Does anchoring cure the shift?"), Points(anchored)]
    parts.append(Heading("What is claimed, and what the figures say"))
    for claim in work.plan.parsed_claims:
        parts += [Text(f"{claim.text} ({claim.view}):"), Points(verdict(claim, report, work.plan))]
    share = share_of_shift(report, work.plan.control)
    if share is not None:
        text = f"Of the control's MSE the squared shift of the means is {100 * share:.1f} %"
        parts.append(Text(f"{text}: that much of it is colour, the rest detail and noise."))
    return parts


def _caution(work: Work, report: Report) -> str:
    chance, far = work.chance(), far_off(report, work.plan)
    text = (
        f"Chance: as new pictures the {len(work.found[1])} held-out ones would have a relative shift of "
        f"{chance['relative_shift']:.4f} and vary {chance['spread']:.2f} times as much; an anchored process, which is "
        "told their blur, would end there if it kept to it."
    )
    if far is not None:
        text += (
            f" The control's new pictures are off by {100 * far:.0f} % of the mean brightness: after this training it "
            "does not know how bright its pictures are; a longer one may leave the knobs less to do."
        )
    return text


def _tables(work: Work, report: Report) -> list[Part]:
    titles = {
        START: "Noised at the variant's own time and denoised",
        EQUAL: "Noised to the control's alpha_bar and denoised",
        GENERATED: "New pictures from noise alone",
    }
    entries, parts = report.summary(), list[Part]()
    for view, title in titles.items():
        mine = [entry for entry in entries if entry["view"] == view]
        if not mine:
            continue
        wanted = (
            [m.name for m in GENERATED_MEASURES] if view == GENERATED else [n for n in report.scores if n != "spread"]
        )
        measures = [report.scores[n] for n in wanted if mine[0][n]["mean"] is not None]
        rows = [{"variant": e["variant"], **{m.title: cell(e[m.name], m) for m in measures}} for e in mine]
        parts += [Heading(title), Cells(rows)]
    parts.append(Text(f"{recipe_of(report.scores)} ± is the standard deviation over seeds."))
    return [*parts, Heading("The variants' processes"), Cells(_processes(work))]


def _processes(work: Work) -> list[dict[str, str]]:
    rows = {}
    for task in work.tasks:
        if task.name in work.results and task.variant not in rows:
            about: dict[str, Any] = work.results[task.name]["about"]
            rows[task.variant] = {
                "variant": task.variant,
                "trained as": task.trained_as,
                "parameters, M": f"{about['parameters'] / 1e6:.2f}",
                "noised at t": str(about["start"]),
                "sqrt(1 - alpha_bar)": f"{about['noise']:.3f}",
                "t of equal noise": str(about["equal_start"]),
                "signal left at the end": f"{about['signal_left']:.4f}",
            }
    return list(rows.values())
