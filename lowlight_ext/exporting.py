"""What an exported graph has in the operators' place: their definitions in plain PyTorch."""

from collections.abc import Callable
from typing import Any

import torch

from lowlight_ext import reference
from lowlight_ext.backends import OPERATORS
from lowlight_ext.registry import NAMESPACE, _Flat, filled


def decompositions() -> dict[Any, Callable]:
    """Operator -> its definition, for `program.run_decompositions(lowlight_ext.decompositions())`.

    program: what torch.export.export made of any module that calls the operators, lowlight's or another. After it the
    graph holds PyTorch's own operators alone, so that torch.onnx.export(program) and other runtimes take it.
    """
    names = [name for name in (*OPERATORS, "haar_wavedec2d", "haar_waverec2d") if hasattr(reference, name)]
    operators = {name: getattr(getattr(torch.ops, NAMESPACE), name).default for name in names}
    return {operator: _definition(name, _Flat(str(operator._schema))) for name, operator in operators.items()}


def _definition(name: str, flat: _Flat) -> Callable:
    function = getattr(reference, name)
    return lambda *arguments: filled(arguments[0], function(*flat.grouped(arguments)))
