"""How tensors of `[batch, time, channel]` may lie in memory."""

from torch import Tensor

LAYOUTS = ("contiguous", "channels first", "expanded")
"""of what is given per token, and of gradients; "expanded" has strides of 0 in time"""


def laid(x: Tensor, layout: str) -> Tensor:
    """x so laid; "expanded", its first token everywhere."""
    if layout == "expanded":
        return x[:, :1].expand(x.shape)
    return x.mT.contiguous().mT if layout == "channels first" else x
