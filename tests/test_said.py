"""What commands say to programs (--json) and what they leave out (-q)."""

import json

import pytest
from test_check import darken, save, scene
from typer.testing import CliRunner

from lowlight.cli import app
from lowlight.commands.terminal import Voice, progress_bar
from lowlight.shipped import DEFAULT_MODEL, shipped_models


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def pairs(tmp_path):
    for number in range(2):
        save(tmp_path / "low" / f"{number}.png", darken(scene(number), number))
        save(tmp_path / "high" / f"{number}.png", scene(number))
    save(tmp_path / "low" / "lonely.png", darken(scene(9), 9))
    return tmp_path


def test_models():
    rows = json.loads(run("models", "--json").stdout)
    assert [row["name"] for row in rows] == [model.name for model in shipped_models()]
    (default,) = [row for row in rows if row["default"] and row["takes"] == "picture"]
    assert default["name"] == DEFAULT_MODEL
    assert default["parameters"] > 1e6
    assert default["scores"]


def test_info():
    content = json.loads(run("info", "--json").stdout)
    assert list(content) == ["versions", "build", "gpus", "backends", "engines"]
    assert content["backends"]["backend reference"] == "available"
    assert content["versions"]["torch"]


def test_check(pairs):
    result = run("check", pairs, "--json")
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert (content["pairs"], content["counts"]) == (2, {"partner": 1})
    assert content["findings"][0]["kind"] == "partner"
    # what is wrong, and no sums
    assert "lonely" in run("check", pairs, "-q").stdout
    (pairs / "low" / "lonely.png").unlink()
    whole = run("check", pairs, "-q")
    assert (whole.exit_code, whole.output) == (0, "")


def test_evaluate_to_standard_output(pairs):
    (pairs / "low" / "lonely.png").unlink()
    told = ("evaluate", pairs, "-m", "none", "--no-lpips", "--json", "-")
    result = run(*told)
    content = json.loads(result.stdout)
    assert {row["method"] for row in content["rows"]} >= {"untouched"}
    # for people, beside it
    assert "PSNR" in result.stderr
    quiet = run(*told, "-q")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["summary"]


def test_sample(tmp_path):
    dark, bright = tmp_path / "dark.png", tmp_path / "bright.png"
    told = json.loads(run("sample", dark, "--size", "8x6", "--json").stdout)
    (row,) = told
    assert (row["path"], row["written"], row["width"], row["height"]) == (str(dark), True, 8, 6)
    told = json.loads(run("sample", dark, "--bright", bright, "--size", "8x6", "--json").stdout)
    assert [row["written"] for row in told] == [False, True]
    assert run("sample", dark, "--bright", bright, "-q").output == ""


def test_export(tmp_path):
    path = tmp_path / "small.safetensors"
    told = json.loads(run("export", "exposurediffusion-small", path, "--json").stdout)
    assert told == {"path": str(path), "bytes": path.stat().st_size, "notes": []}
    assert run("export", "exposurediffusion-small", path, "-q").output == ""


def test_export_writes_over_no_model(tmp_path):
    path = tmp_path / "small.safetensors"
    run("export", "exposurediffusion-small", path)
    before = path.read_bytes()
    for target, said in ((path, "is the model itself"), (tmp_path / "last.pt", "cannot export to '.pt' files")):
        result = CliRunner().invoke(app, ["export", str(path), str(target), "--dtype", "int8"])
        assert result.exit_code == 2
        assert said in " ".join(result.output.replace("│", " ").split())
    assert path.read_bytes() == before


def test_a_bar_that_says_nothing(capsys):
    with progress_bar(3, voice=Voice(quiet=True)) as bar:
        for _ in range(3):
            bar.describe("[x]")
            bar.advance()
    assert capsys.readouterr() == ("", "")
