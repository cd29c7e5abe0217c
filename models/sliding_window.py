"""Sliding-window attention: softmax attention that reads the last few positions only."""

from dataclasses import dataclass

from .attention import Attention, AttentionConfig


@dataclass(frozen=True, kw_only=True)
class SlidingWindowConfig(AttentionConfig):
    """Configuration of `SlidingWindow`."""

    window: int = 16
    """positions read, the present one included"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1:
            raise ValueError(f"window must be at least 1 (the present position), got {self.window}")


class SlidingWindow(Attention):
    """y_t = sum over t - window < s <= t of softmax_s(q_t . k_s / sqrt(d)) v_s (arXiv:2004.05150, sec. 3.1, causal).

    Its state is the cache of the last window - 1 positions: 2 * width * (window - 1) scalars once the window is full.
    """

    Config = SlidingWindowConfig
    state_knob = "window"
    config: SlidingWindowConfig

    def reach(self, length: int) -> int:
        return min(self.config.window, length)

    def carried(self, length: int) -> int:
        return min(self.config.window - 1, length)
