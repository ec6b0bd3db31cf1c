"""Python started in a clone's root imports the sources there instead of the installed package: said once."""

import warnings
from importlib import metadata
from pathlib import Path


def warn_of_unbuilt_sources(imported: Path) -> None:
    """Warns where the package in `imported` was never built while one that was is installed elsewhere."""
    if (imported / "_build_info.json").exists():
        return
    for distribution in metadata.distributions(name="lowlight-ext"):
        installed = Path(str(distribution.locate_file("lowlight_ext"))).resolve()
        if installed != imported.resolve() and (installed / "_build_info.json").exists():
            warnings.warn(
                f"lowlight_ext comes from the unbuilt sources in {imported}, so plain PyTorch serves every operator; "
                f"the installed one, with what was compiled, is in {installed}: start Python in another folder, or "
                "build these sources with `pip install -e .`",
                RuntimeWarning,
                stacklevel=2,
            )
            return
