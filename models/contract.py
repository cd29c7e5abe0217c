"""What a measurement takes on trust of a mixer, seen to hold on a few tokens before it is trained: also of one from outside the lab."""

import torch
from jaxtyping import Int
from torch import Tensor

from .backbone import LanguageModel
from .mixer import count_scalars

TOLERANCE = 1e-3
"""of the largest logit: the parallel form and the step add in another order, which float32 shows at about 1e-6"""


@torch.no_grad()
def broken_contract(model: LanguageModel, tokens: Int[Tensor, "batch length"]) -> str | None:
    """In one sentence what is wrong with the model's mixer, or None.

    After every token the step's logits must be those of the parallel form, so that nothing is read from later tokens; and the scalars carried
    must be as many as `state_size` says, after each of them.
    """
    parallel = model(tokens)
    state = model.init_state(len(tokens))
    for at, token in enumerate(tokens.unbind(1), start=1):
        logits, state = model.step(token, state)
        difference = float((logits - parallel[:, at - 1]).abs().max())
        if not difference <= TOLERANCE * float(parallel.abs().max()):
            return (
                f"token {at} by `step` differs from the parallel form by {difference:.2g}: one of them is wrong, or later tokens are read"
            )
        carried = sum(count_scalars(part) for block in state for part in block)
        if carried != model.state_size(at):
            return f"state_size({at}) gives the model {model.state_size(at)} scalars of state, and `step` carries {carried}"
    return None
