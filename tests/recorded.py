"""What a CUDA graph does, on the CPU: the operators of one call are run again in the memory that they wrote.

A number that the host has looked at, a branch or a seed taken by value stays what it was in the first call, as in a
graph, and shows in the second.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lowlight_ext import tables_kept


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


RESHAPED = ("squeeze_", "unsqueeze_", "transpose_")


def alias(x):
    """The same memory in a tensor of its own."""
    return x.detach() if isinstance(x, torch.Tensor) else x


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        # as they are now: squeeze_ and its like change the shape later
        seen = tree_map(alias, (arguments, keywords or {}))
        result = operator(*arguments, **(keywords or {}))
        if operator.__name__.split(".")[0] not in RESHAPED:
            self.calls.append((operator, *seen, tree_map(alias, result)))
        return result

    def replay(self):
        for operator, arguments, keywords, result in self.calls:
            for old, new in zip(tensors(result), tensors(operator(*arguments, **keywords)), strict=True):
                # a view, or written in place
                if old.numel() and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def recorded(function, *inputs):
    """In the place of lowlight.engines.cuda_graph.recorded."""
    held, tables = [x.clone() for x in inputs], {}
    with tables_kept(tables):
        function(*held)
        with Recorder() as recorder:
            out = function(*held)

    def replay(*given):
        for own, x in zip(held, given, strict=True):
            own.copy_(x)
        recorder.replay()
        return out.clone()

    return replay


class Watch(TorchDispatchMode):
    """Names the operators that go between the host and the device `meta`, each of which would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.crossings, self.launches = [], 0

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        result = operator(*arguments, **(keywords or {}))
        # a number of the host goes along with the call
        given = {x.device.type for x in tensors((arguments, keywords)) if x.dim()}
        given |= {x.device.type for x in tensors(result)}
        if "meta" in given:
            self.launches += not operator.is_view
            if len(given) > 1:
                self.crossings.append(str(operator))
        return result
