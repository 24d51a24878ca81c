"""The notebooks run from their first cell to the last, with few clips."""

import pytest

from experiments import notebooks


@pytest.mark.parametrize("notebook", notebooks.NOTEBOOKS, ids=lambda n: n.stem)
def test_notebooks_run(notebook, tmp_path):
    done = notebooks.run_notebook(notebook, tmp_path, small=True)
    printed = [
        output.text
        for cell in done.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream"
    ]
    assert any("protobin" in text for text in printed)


@pytest.mark.parametrize("notebook", notebooks.NOTEBOOKS, ids=lambda n: n.stem)
def test_notebooks_are_stored_with_small_outputs(notebook):
    read = notebooks.nbformat.read(notebook, as_version=4)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)
    assert notebook.stat().st_size < 400_000
