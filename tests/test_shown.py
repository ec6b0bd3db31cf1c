"""What README and docs show: commands that parse, Python that runs or compiles, links that lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from lowlight.cli import COMMANDS, app
from lowlight.commands.examples import EXAMPLES
from lowlight.scenes.synthetic import darken, still_life

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# what runs as it stands, in a folder with a dark.png
RUN = {"README.md", "operators.md", "checkpoints.md"}
# a sentence may leave out what does not matter to it; a block is to be copied
INLINE = "a sentence"
# made when the site is built
GENERATED = {"commands.md"}

if not PAGES[0].is_file():
    pytest.skip("README.md is not beside the tests: not a checkout", allow_module_level=True)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def command_lines(text):
    """Arguments of each `lowlight ...` in shell text."""
    for line in text.replace("\\\n", " ").splitlines():
        # a loop's variable stands for a number
        for part in re.split(r"&&?|\|\|?|;|>", re.sub(r"\$\w+", "1", line.split("#")[0])):
            # other programs' lines may lack their closing quote
            if "lowlight" in part.split():
                words = shlex.split(part)
                yield words[words.index("lowlight") + 1 :]


def shown():
    for page in PAGES:
        inline = re.findall(r"`(lowlight [^`]*)`", page.read_text())
        for text in blocks(page, "sh"):
            yield from ((page.name, words) for words in command_lines(text))
        yield from ((INLINE, shlex.split(text)[1:]) for text in inline if text.split()[1] in COMMANDS)
    for lines in EXAMPLES.values():
        yield from (("examples", words) for line in lines for words in command_lines(line))


def parse(words):
    """Raises click's errors for an option or a value that a command does not take; runs nothing."""
    command = typer.main.get_command(app).commands[words[0]]
    command.make_context(words[0], list(words[1:]))


@pytest.mark.parametrize(("page", "words"), list(shown()), ids=str)
def test_commands_parse(page, words):
    if words[0] in ("--version", "--help", "--debug"):
        return
    try:
        parse(words)
    except typer.Exit:
        assert "--help" in words
    # by name: some versions of typer carry a click of their own
    except Exception as error:
        if (type(error).__name__, page) != ("MissingParameter", INLINE):
            raise


def test_an_option_that_is_not_there_is_seen():
    with pytest.raises(Exception, match="No such option"):
        parse(["enhance", "a.png", "--brightnes", "1"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs_or_compiles(page, tmp_path, monkeypatch):
    from lowlight.files.pictures import Picture, write_picture

    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "dark.png", Picture(darken(still_life(60, 40), seed=0)))
    for number, text in enumerate(blocks(page, "python"), 1):
        code = compile(text, f"{page.name}, block {number}", "exec")
        if page.name in RUN:
            exec(code, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"(?:\]\(|src=\")(?!https?:)([^)#\"]+)", page.read_text()):
        there = (page.parent / target).exists() or Path(target).name in GENERATED
        assert there, f"{page.name}: {target}"


def test_every_command_has_examples():
    assert set(EXAMPLES) == set(COMMANDS)


def test_the_readme_is_one_screen_and_says_what_the_cards_say():
    """At most 80 lines; its scores are in docs/results.md, and those of the cards' heads in the cards."""
    from lowlight.shipped import card_head, card_text, shipped_models

    text = PAGES[0].read_text()
    assert len(text.splitlines()) <= 80
    for model in shipped_models():
        assert model.name in text
        card = card_text(model.path.with_suffix(".md"))
        body = card.split("---\n", 2)[2]
        for result in card_head(card)["model-index"][0]["results"]:
            for metric in result["metrics"]:
                assert re.search(rf"\b{metric['value']}0?\b", body), f"{model.name}: {metric}"


def test_a_package_index_gets_absolute_links():
    environment = os.environ | {"LOWLIGHT_EXT_HOME": "https://example.org/here/"}
    command = [sys.executable, "setup.py", "--quiet", "--long-description"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert "![" in shown
    assert "](https://example.org/here/raw/main/docs/photographs.jpg)" in shown
    assert '<img src="https://example.org/here/raw/main/docs/speed.png"' in shown
    assert "](https://example.org/here/blob/main/docs/results.md)" in shown
    assert not re.findall(r"\]\((?!https?:)[^)]*\)", shown)
