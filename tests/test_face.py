"""What a user meets first: lists and help without torch, completion, errors with and without where they came from."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import lowlight
import lowlight_ext
from lowlight.cli import COMMANDS, app, main
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


def parameters(command):
    return {p.name: p for p in typer.main.get_command(app).commands[command].params}


def options(command):
    return {name for p in parameters(command).values() for name in (*p.opts, *p.secondary_opts)}


# servers log; one line is no more than what was asked for
QUIET_ANYWAY = {"demo", "serve", "plot", "lpips"}
LISTS = {"models", "info"}


@pytest.mark.parametrize("command", COMMANDS)
def test_one_way_to_say_more_and_less(command):
    found = options(command)
    assert ("--json" in found) == (command not in QUIET_ANYWAY)
    assert ({"--quiet", "-q"} <= found) == (command not in QUIET_ANYWAY | LISTS)
    assert ("--verbose" in found) == ("-v" in found) == (command in {"enhance", "calibrate", "generate", "train"})


# the files to brighten are named one by one, and what is written is not read
DATA_SETS = {"check", "calibrate", "evaluate", "evaluate-raw", "steps", "train", "ablate", "study"}
PAIRS = {"check", "evaluate", "steps", "train", "ablate"}


@pytest.mark.parametrize("command", COMMANDS)
def test_one_way_to_name_data(command):
    found = options(command)
    assert ("--data" in found) == (command in DATA_SETS)
    assert ({"--low", "--high"} <= found) == (command in PAIRS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_no_default_twice(command):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert "[default: default]" not in shown
    # a default in words, and again in brackets
    for line in shown.splitlines():
        assert not ("(default" in line and "[default:" in line), line


@pytest.mark.parametrize("command", COMMANDS)
def test_models_and_configurations_are_completed(command):
    # all models, studies and some configurations begin with it
    for name in {"model", "models", "init", "config", "configs"} & parameters(command).keys():
        context = typer.main.get_command(app).make_context("lowlight", [command, "--help"], resilient_parsing=True)
        found = [item.value for item in parameters(command)[name].shell_complete(context, "d")]
        assert found, f"{command}: {name} is not completed"
        assert all(value.startswith("d") for value in found)


FAILING = {
    "enhance": ["broken.png"],
    "video": ["nowhere.mp4"],
    "sample": ["dark.xyz"],
    "demo": ["--model", "nowhere.pt"],
    "serve": ["--model", "nowhere.pt"],
    "models": ["--nothing"],
    "check": ["nowhere"],
    "calibrate": ["nowhere", "-o", "c.json"],
    "evaluate": ["nowhere"],
    "evaluate-raw": ["nowhere"],
    "steps": ["default", "nowhere"],
    "train": ["nowhere.yaml", "--data", "nowhere"],
    "ablate": ["nowhere.yaml", "--data", "nowhere", "--budget-iterations", "1"],
    "study": ["nowhere.yaml", "--scenes", "1"],
    "plot": ["nowhere", "-o", "x.png"],
    "generate": ["nowhere.pt"],
    "export": ["nowhere.pt", "x.safetensors"],
    "tune": ["nowhere.pt"],
    "lpips": ["nothing"],
    "info": ["--nothing"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_debug_of_every_command(command, tmp_path, monkeypatch, capsys):
    """One sentence, and with --debug where it came from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOWLIGHT_DEBUG", "")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    for debug in ([], ["--debug"]):
        monkeypatch.setattr(sys, "argv", ["lowlight", command, *FAILING[command], *debug])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code in (1, 2)
        assert ("Traceback" in said) == bool(debug), said
        assert said.strip()


def test_versions_and_names():
    assert lowlight.__version__ == lowlight_ext.__version__
    assert set(lowlight.__all__) <= set(dir(lowlight))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lowlight_ext.nothing
