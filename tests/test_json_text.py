"""JSON that any reader takes: no NaN, no Infinity, not even where a score has none or is infinite."""

import json
import math

import pytest
from train_process import make_pairs

from lowlight.files.json_text import json_text
from lowlight.scoring.report import Method, evaluate
from lowlight.scoring.srgb import picture_samples
from lowlight.scoring.tables import report_json


def strict(text):
    """As readers of RFC 8259 read it."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_what_is_not_finite_is_null():
    values = {"a": [math.nan, {"b": (math.inf, 1.5, True, None, "NaN")}], "c": -math.inf, "d": 2}
    assert strict(json_text(values)) == {"a": [None, {"b": [None, 1.5, True, None, "NaN"]}], "c": None, "d": 2}


def test_the_score_of_equal_pictures(tmp_path):
    pairs = make_pairs(tmp_path, 1)
    pairs[0].low.write_bytes(pairs[0].high.read_bytes())
    report = evaluate(picture_samples(pairs), [Method("as it is", lambda low, seed: low)])
    assert report.rows[0]["psnr"] == math.inf
    assert strict(report_json(report, {}, summary=report.summary()))["rows"][0]["psnr"] is None
