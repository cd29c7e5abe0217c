"""Operators along a sequence, each with three bodies: its definition, a fast form in plain PyTorch, and a Triton form for GPUs.

A folder here is an operator: `reference.py`, `eager.py`, `triton.py` each define a function of the operator's name, and `__init__.py` the
public one, which checks its arguments and picks a body.
"""

import importlib.util
import sys
from pathlib import Path

from ._dispatch import OPERATORS, Backend, BackendUnavailable, backend, which
from ._step_size import step_size
from .bin_ranges import bin_ranges, hash_bins
from .bin_ranges.ranges import Ranges
from .causal_conv import causal_conv, causal_conv_step
from .causal_topk import causal_topk
from .causal_topk.topk import TopK
from .linear_attention import linear_attention
from .selective_scan import selective_scan, selective_scan_step
from .softmax_attention import softmax_attention
from .sparse_attention import sparse_attention
from .sparse_attention.patterns import Dilated, Pattern, Sink, Strided, Union, Window, pattern_mask
from .ssd import ssd, ssd_scan, ssd_step
from .ssd.masked import decay_mask, ssd_matrix

__all__ = [
    "OPERATORS",
    "Backend",
    "BackendUnavailable",
    "Dilated",
    "Pattern",
    "Ranges",
    "Sink",
    "Strided",
    "TopK",
    "Union",
    "Window",
    "backend",
    "bin_ranges",
    "causal_conv",
    "causal_conv_step",
    "causal_topk",
    "decay_mask",
    "hash_bins",
    "linear_attention",
    "pattern_mask",
    "selective_scan",
    "selective_scan_step",
    "softmax_attention",
    "sparse_attention",
    "ssd",
    "ssd_matrix",
    "ssd_scan",
    "ssd_step",
    "step_size",
    "which",
]

# With the repository's root on the path, whoever looks for a library called `kernels`, as transformers does, finds this folder. It must be this
# module then: a second one would register the operators again, with itself behind them.
_found = importlib.util.find_spec("kernels") if "kernels" not in sys.modules else None
if _found and _found.origin and Path(_found.origin).resolve() == Path(__file__).resolve():
    sys.modules["kernels"] = sys.modules[__name__]
