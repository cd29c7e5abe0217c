"""The step sizes that Mamba's operators make of their input."""

import torch.nn.functional as F
from torch import Tensor


def step_size(dt: Tensor, bias: Tensor | None, softplus: bool) -> Tensor:
    """delta, of dt's shape and dtype: softplus(dt + bias), or without softplus the sum itself (arXiv:2312.00752, alg. 2)."""
    if bias is not None:
        dt = dt + bias
    # PyTorch's threshold of 20, from where on softplus(x) is x, is off by 2e-9; at 40 float64 sees no difference
    return F.softplus(dt, threshold=40.0) if softplus else dt
