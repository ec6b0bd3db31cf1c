"""The pages of the published systems name every option that there is."""

import dataclasses
import re
from pathlib import Path

import pytest

from lowlight.systems.registry import SYSTEMS
from lowlight.training.config_files import shipped_configs
from lowlight.training.objectives.lookup import objective_of

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path.stem for path in (DOCS / "systems").glob("*.md"))


def test_every_published_system_has_a_page():
    assert {"diffll", "anlightendiff", "exposurediffusion"} <= set(PAGES) <= set(SYSTEMS)


@pytest.mark.parametrize("system", PAGES)
def test_a_page_names_every_option(system):
    """Fields of the network's configuration and of the objective's settings; and no configuration that is not there."""
    text = (DOCS / "systems" / f"{system}.md").read_text(encoding="utf-8")
    named = {word.removeprefix("objective.") for word in re.findall(r"`([\w.]+)[:`]", text)}
    fields = [*dataclasses.fields(SYSTEMS[system].config), *dataclasses.fields(objective_of(system).options)]
    missing = [field.name for field in fields if field.name not in named]
    assert not missing
    ships = {name for name in named if name.startswith(f"{system}_")}
    assert ships <= set(shipped_configs())
