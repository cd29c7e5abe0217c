"""HAX around the first Mamba."""

from dataclasses import dataclass

from .hybrid import Hybrid
from .mamba import Mamba, MambaConfig
from .sparse_reader import ReaderConfig


@dataclass(frozen=True, kw_only=True)
class HaxMambaConfig(ReaderConfig, MambaConfig):
    """Configuration of `HaxMamba`."""


class HaxMamba(Hybrid):
    """Mamba with an attention beside the selective scan (`Hybrid`), by default to the query's hash bin and to selected keys.

    The paper's models (arXiv:2507.00449): two blocks, width 64, 16 states, rank 8 of the step, four taps, a budget of 64, 8 planes.
    """

    Config = HaxMambaConfig
    config: HaxMambaConfig

    def __init__(self, config: HaxMambaConfig) -> None:
        super().__init__(config, Mamba(config))
