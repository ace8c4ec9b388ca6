"""Of a notebook its code counts, and nothing else."""

from __future__ import annotations

import json

import pytest

from hubd.errors import HubdError
from hubd.tools.notebook import Cell, code_of

CODE = {"cell_type": "code", "source": ["import a\n", "a.b()"], "metadata": {"tags": ["x", "raises-exception", 7]}}
NOTEBOOKS: list[tuple[object, tuple[Cell, ...], str]] = [
    # what the file holds, its code, what is wrong
    ({"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "# a"}, CODE]},
     (Cell("import a\na.b()", ("raises-exception", "x")),), ""),
    ({"nbformat": 4, "cells": [{"cell_type": "code", "source": "1"}, {"cell_type": "code"}]}, (Cell("1"), Cell("")), ""),
    ({"nbformat": 4, "cells": [{"cell_type": "code", "source": " "}, 7]}, (), "it has no cell of code"),
    ({"nbformat": 3, "worksheets": []}, (), "nbformat 4"),
    ({"nbformat": 3, "cells": [CODE]}, (), "nbformat 4"),
    ({"nbformat": 4, "cells": {}}, (), "nbformat 4"),
    ([1], (), "nbformat 4"),
    ("{", (), "it is not JSON"),
    ("[" * 100_000, (), "it is not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("held", "cells", "problem"), NOTEBOOKS)
def test_of_a_notebook_its_code_counts(held: object, cells: tuple[Cell, ...], problem: str) -> None:
    text = held if isinstance(held, str) else json.dumps(held)
    if problem:
        with pytest.raises(HubdError, match=problem):
            code_of(text)
    else:
        assert code_of(text) == cells
