"""What is wrong with the pairs of a data set, found by decoding every picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...files.eight_bit import decode_rgb
from ...files.pictures import PictureError
from .alignment import MATCHES, Alignment, estimate_alignment
from .matching import Pair

KINDS = {
    "partner": "no partner, or several",
    "unreadable": "unreadable or truncated",
    "size": "different sizes",
    "identical": "dark and bright identical",
    "swapped": "dark brighter than bright",
    "duplicate": "same picture in two pairs",
    "alignment": "suspected misalignment",
}


@dataclass(frozen=True)
class Finding:
    """One thing wrong; kind: a key of KINDS, name: the pair's, "" where there is none."""

    kind: str
    name: str
    text: str


@dataclass
class CheckReport:
    """pairs: how many were looked at. coarse: pairs too noisy to compare in full size."""

    pairs: int = 0
    findings: list[Finding] = field(default_factory=list)
    coarse: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Kind -> findings, in the order of KINDS, kinds without any left out."""
        found = [finding.kind for finding in self.findings]
        return {kind: found.count(kind) for kind in KINDS if kind in found}


def check_pairs(
    pairs: list[Pair],
    unpaired: list[str] | None = None,
    *,
    shift: float | None = 1.5,
    on_pair: Callable[[], None] = lambda: None,
) -> CheckReport:
    """Decodes every picture of the pairs and says what is wrong with it.

    unpaired: sentences of `scan_pairs`, taken over. shift: from how many pixels on a shift is reported
    (`estimate_alignment` says what it sees); None: alignment is not looked at. on_pair is called after every pair.
    Duplicates are pictures equal in every pixel: a dark one that is also a picture of another pair, and a bright one
    that is another pair's dark one. A bright picture shared by several dark ones is in order.
    """
    report = CheckReport(findings=[Finding("partner", "", text) for text in unpaired or []])
    seen: dict[bytes, tuple[str, str]] = {}
    for pair in pairs:
        _check_pair(pair, report, seen, shift)
        report.pairs += 1
        on_pair()
    return report


def _check_pair(pair: Pair, report: CheckReport, seen: dict[bytes, tuple[str, str]], shift: float | None) -> None:
    def add(kind: str, text: str) -> None:
        report.findings.append(Finding(kind, pair.name, text))

    decoded = {}
    for side, path in (("dark", pair.low), ("bright", pair.high)):
        try:
            decoded[side] = decode_rgb(path)
        except PictureError as error:
            add("unreadable", str(error))
    identical = len(decoded) == 2 and np.array_equal(decoded["dark"], decoded["bright"])
    for side, picture in decoded.items():
        other_name, other_side = seen.setdefault(_digest(picture), (pair.name, side))
        if other_name != pair.name and "dark" in (side, other_side):
            add("duplicate", f"the {side} picture is also the {other_side} one of {other_name}")
    if len(decoded) < 2:
        return
    low, high = decoded["dark"], decoded["bright"]
    if low.shape != high.shape:
        add("size", " and ".join(f"{picture.shape[1]} x {picture.shape[0]}" for picture in (low, high)))
    if identical:
        add("identical", f"{pair.low} and {pair.high} show the same")
        return
    means = low.mean(), high.mean()
    if means[0] > means[1]:
        add("swapped", f"mean {means[0]:.1f} of the dark one, {means[1]:.1f} of the bright one")
    if shift is None or low.shape != high.shape:
        return
    found = estimate_alignment(low, high)
    if found is not None and found.is_suspect(shift):
        add("alignment", _describe(found))
    elif found is not None and found.coarsened:
        report.coarse.append(pair.name)


def _describe(found: Alignment) -> str:
    if found.match < MATCHES:
        return f"no common edges within {found.reach} pixels (match {found.match:.2f} at best)"
    sides = []
    for value, (less, more) in ((found.dy, ("up", "down")), (found.dx, ("left", "right"))):
        if abs(value) >= 0.05:
            sides.append(f"{abs(value):.1f} pixels {more if value > 0 else less}")
    return f"bright {', '.join(sides)} (match {found.match:.2f}, unshifted {found.match_unshifted:.2f})"


def _digest(picture: np.ndarray) -> bytes:
    return hashlib.blake2b(picture.tobytes(), digest_size=16, salt=b"%d" % picture.shape[1]).digest()
