"""HAX: Mamba-2 and sparse attention that depends on what is read, in one block."""

from dataclasses import dataclass

from .hybrid import Hybrid
from .mamba2 import Mamba2, Mamba2Config
from .sparse_reader import ReaderConfig


@dataclass(frozen=True, kw_only=True)
class HaxConfig(ReaderConfig, Mamba2Config):
    """Configuration of `Hax`."""


class Hax(Hybrid):
    """Mamba-2 with an attention beside the state-space model (`Hybrid`), by default to the query's hash bin and to selected keys.

    The paper's models (arXiv:2507.00449): two blocks, width 64, 32 states, heads 16 wide, four taps, a budget of 64, 8 planes.
    """

    Config = HaxConfig
    config: HaxConfig

    def __init__(self, config: HaxConfig) -> None:
        super().__init__(config, Mamba2(config))
