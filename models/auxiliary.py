"""Parts of a model that learn from an objective of their own, beside the loss on answers."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool
from torch import Tensor, nn


class Auxiliary(nn.Module, ABC):
    """A module whose weights are trained by `loss` alone: it makes choices, which have no gradient.

    Its weights are a parameter group with a learning rate of its own. A factor on the loss would do nothing there: AdamW divides it out.
    """

    learning_rate: float
    """the peak of its schedule"""

    @abstractmethod
    def loss(self, read: Bool[Tensor, "batch length"], draw: torch.Generator) -> Tensor:
        """The objective on the last forward pass in training mode, of positions where `read` holds; `draw` is all that is random in it.

        Its gradient reaches the weights of this module and nothing else. Raises RuntimeError before such a pass.
        """


def auxiliaries(model: nn.Module) -> list[Auxiliary]:
    """All that learn by themselves in a model, in its order."""
    return [module for module in model.modules() if isinstance(module, Auxiliary)]
