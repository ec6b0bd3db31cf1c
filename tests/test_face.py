"""What a user meets first: lists and help without torch, completion, errors with and without where they came from."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import lowlight
import lowlight_ext
from lowlight.cli import COMMANDS, app
from lowlight.commands import completion
from lowlight.shipped import shipped_models
from lowlight.training.config_files import shipped_configs


def process(*arguments, cwd):
    code = "import sys; from lowlight.cli import main; sys.argv[0] = 'lowlight'; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True)


def test_models_are_listed_without_torch(tmp_path):
    code = "import sys; from lowlight.cli import app\ntry: app(['models'])\nfinally: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert shown.stdout.splitlines()[-1] == "False"
    for model in shipped_models():
        assert f"{model.name}" in shown.stdout
        assert f"{model.parameters() / 1e6:.1f} M parameters" in shown.stdout
        assert all(line in shown.stdout for line in (model.summary, *model.scores, model.terms))


def test_completion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    (tmp_path / "mine.txt").touch()
    assert completion.models("mi") == ["mine.safetensors"]
    assert completion.models("wav") == ["wavelet-anchored-lol", "wavelet-anchored-small"]
    assert completion.configs("") == shipped_configs()
    # what a shell sends; the words of the line and which of them is being typed
    shell = {"_LOWLIGHT_COMPLETE": "complete_bash", "COMP_WORDS": "lowlight enhance --model diff", "COMP_CWORD": "3"}
    assert CliRunner().invoke(app, [], env=shell, prog_name="lowlight").stdout.split() == ["diffll-small"]


@pytest.mark.parametrize("where", [0, 5])
def test_debug_shows_where_an_error_came_from(tmp_path, where):
    plain = ["evaluate", ".", "-m", "none", "--no-baselines"]
    quiet = process(*plain, cwd=tmp_path)
    told = process(*plain[:where], "--debug", *plain[where:], cwd=tmp_path)
    assert quiet.returncode == told.returncode == 2
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in told.stderr
    # the error behind the sentence, which the command hides
    assert "find_splits" in told.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples(command):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert "Examples:" in shown
    assert f"lowlight {command}" in shown[shown.index("Examples:") :]


def test_versions_and_names():
    assert lowlight.__version__ == lowlight_ext.__version__
    assert set(lowlight.__all__) <= set(dir(lowlight))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lowlight_ext.nothing
