"""The notebooks run from beginning to end, and lie there without outputs."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

if not NOTEBOOKS:
    pytest.skip("notebooks/ is not beside the tests: not a checkout", allow_module_level=True)
nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient and ipykernel: pip install them")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient and ipykernel: pip install them")
pytest.importorskip("ipykernel", reason="notebooks need nbclient and ipykernel: pip install them")
pytest.importorskip("matplotlib", reason="needs the extra [train]")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    # its processes take what is tested here, installed or not
    import lowlight
    import lowlight_ext

    places = [str(Path(package.__file__).parents[1]) for package in (lowlight, lowlight_ext)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    shown = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    # commands fail without an exception of the notebook's
    assert "Traceback" not in shown
    assert "Error" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_not_kept(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)
