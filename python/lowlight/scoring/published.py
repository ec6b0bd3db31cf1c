"""Figures of LOL-v1's eval15 in the literature, with the methods' papers; shown apart, never beside measured ones."""

from __future__ import annotations

from typing import NamedTuple

NOTE = (
    "As the literature reports them, not measured here. PSNR, SSIM and LPIPS of results as they come, and GT-mean "
    "PSNR, are two protocols that must not be compared; recipes of SSIM differ between papers; eval15 has near-twins "
    "in our485."
)


class Published(NamedTuple):
    """A method's figures on eval15's 15 pictures; "-": not reported. paper: the method's."""

    method: str
    psnr: str
    ssim: str
    lpips: str
    gt_mean_psnr: str
    paper: str

    def row(self) -> dict[str, str]:
        """A line of a table."""
        titles = ("method", "PSNR", "SSIM", "LPIPS", "GT-mean PSNR", "paper")
        return dict(zip(titles, self, strict=True))


EVAL15 = (
    Published("DiffLL", "26.34", "0.845", "0.217", "-", "Jiang et al., SIGGRAPH Asia 2023"),
    Published("Retinexformer", "25.16", "0.845", "-", "27.18", "Cai et al., ICCV 2023"),
    Published("HVI-CIDNet, no perceptual loss", "23.50", "0.870", "0.105", "28.14", "Yan et al., CVPR 2025"),
    Published("GSAD", "22.40", "0.851", "0.104", "27.84", "Hou et al., NeurIPS 2023"),
    Published("Reti-Diff", "25.35", "0.866", "-", "-", "He et al., ICLR 2025"),
    Published("PyDiff", "-", "-", "-", "27.09", "Zhou et al., IJCAI 2023"),
    Published("ReDDiT, 2 steps", "-", "-", "-", "27.40", "Lan et al., CVPR 2025"),
    Published("ReDDiT, 4 steps", "-", "-", "-", "27.98", "Lan et al., CVPR 2025"),
    Published("LightenDiffusion, unpaired", "20.19", "0.809", "0.182", "-", "Jiang et al., ECCV 2024"),
    Published("Zero-DCE", "14.86", "0.562", "0.335", "-", "Guo et al., CVPR 2020"),
)
