"""From a camera's colours to sRGB's, float64 matrices [3, 3] that multiply columns of colours."""

from __future__ import annotations

import numpy as np

# linear sRGB to CIE XYZ under D65 (IEC 61966-2-1, with the digits of its primaries)
SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def daylight_gains(camera_to_xyz: np.ndarray) -> np.ndarray:
    """[3]: gains under which the camera sees D65's white as grey; green's is 1."""
    white = _camera_from_srgb(camera_to_xyz).sum(axis=1)
    return white[1] / white


def camera_to_srgb(camera_to_xyz: np.ndarray | None) -> np.ndarray:
    """White-balanced camera RGB to linear sRGB; rows sum to 1, so that grey stays grey. None: the identity."""
    if camera_to_xyz is None:
        return np.eye(3)
    from_srgb = _camera_from_srgb(camera_to_xyz)
    return np.linalg.inv(from_srgb / from_srgb.sum(axis=1, keepdims=True))


def camera_to_xyz_of(balanced_to_srgb: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """The inverse of the two above: from the matrix for white-balanced colours and the daylight gains."""
    return SRGB_TO_XYZ @ balanced_to_srgb @ np.diag(gains)


def _camera_from_srgb(camera_to_xyz: np.ndarray) -> np.ndarray:
    return np.linalg.solve(camera_to_xyz, SRGB_TO_XYZ)
