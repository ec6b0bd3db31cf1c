"""The weights in the package and what their model cards say; without torch, so that listing them takes no second."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "wavelet-anchored-small"
DEFAULT_RAW_MODEL = "exposurediffusion-small"


class ShippedModel(NamedTuple):
    """Weights that come with the package, and what the head of their card says."""

    name: str
    path: Path
    summary: str  # first paragraph of the model card
    size: int  # bytes
    takes: str = "picture"  # or "raw"
    terms: str = ""  # of the weights, which their data decide
    scores: tuple[str, ...] = ()  # one a data set, as the card's head has them

    def parameters(self) -> int:
        """Numbers in the file, as its header counts them."""
        from safetensors import safe_open

        with safe_open(self.path, framework="np") as file:
            # scales of int8 weights are no parameters; see files/int8.py
            names = [name for name in file.keys() if not name.endswith(".int8_scale")]  # noqa: SIM118
            return sum(prod(file.get_slice(name).get_shape()) for name in names)


def shipped_models() -> list[ShippedModel]:
    """The weights in the package, by name, the default first."""
    models = [_model(path) for path in WEIGHTS.glob("*.safetensors")]
    return sorted(models, key=lambda model: (model.name != DEFAULT_MODEL, model.name))


def _model(path: Path) -> ShippedModel:
    text = card_text(path.with_suffix(".md"))
    head = card_head(text)
    takes = "raw" if "raw" in head.get("tags", ()) else "picture"
    terms, scores = head.get("license_name", ""), tuple(_scores(head))
    return ShippedModel(path.stem, path, card_summary(text), path.stat().st_size, takes, terms, scores)


def _scores(head: dict[str, Any]) -> list[str]:
    results = [result for model in head.get("model-index", ()) for result in model["results"]]
    return [
        f"{result['dataset']['name']}: " + ", ".join(f"{m['name']} {m['value']}" for m in result["metrics"])
        for result in results
    ]


def card_text(card: Path) -> str:
    """A model card, empty where there is none."""
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def card_head(text: str) -> dict[str, Any]:
    """The YAML between the two lines of dashes that a card begins with; empty without them."""
    import yaml

    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(found[1]) or {} if found else {}


def card_summary(text: str) -> str:
    """The first paragraph below the head and the headings of a model card, in one line."""
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", body))
    return next((part for part in paragraphs if part and not part.startswith("#")), "")
