"""`lowlight lpips`: what LPIPS needs on this disk, fetched because it was asked for."""

from __future__ import annotations

from typing import Annotated

import typer


def lpips(
    net: Annotated[str, typer.Argument(metavar="NET", help="alex (scores), vgg (the usual loss) or squeeze.")] = "alex",
) -> None:
    """Fetch torchvision's weights of one of LPIPS's networks, once; no other command downloads anything.

    Needs the extra [lpips]. They go where torchvision keeps its own, and `evaluate` and `train` find them there.
    """
    from ..metrics.lpips import Lpips, LpipsUnavailable
    from ..metrics.lpips_files import fetch_trunk
    from ..metrics.lpips_trunks import TRUNKS

    try:
        if net not in TRUNKS:
            raise ValueError(f"NET must be one of {', '.join(TRUNKS)}, got {net}")
        fetch_trunk(TRUNKS[net])
        found = Lpips(net)
    except (LpipsUnavailable, OSError, ValueError) as error:
        typer.echo(f"LPIPS is not ready: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{found.path}: SHA-256 {found.sha256}")
