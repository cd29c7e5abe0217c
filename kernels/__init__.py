"""Operators along a sequence, each with three bodies: its definition, a fast form in plain PyTorch, and a Triton form for GPUs.

A folder here is an operator: `reference.py`, `eager.py`, `triton.py` each define a function of the folder's name, and `__init__.py` the
public one, which checks its arguments and picks a body.
"""

from ._dispatch import OPERATORS, Backend, BackendUnavailable, backend, which
from .linear_attention import linear_attention
from .softmax_attention import softmax_attention

__all__ = [
    "OPERATORS",
    "Backend",
    "BackendUnavailable",
    "backend",
    "linear_attention",
    "softmax_attention",
    "which",
]
