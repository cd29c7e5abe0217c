"""What every operator over queries, keys and values asks of its arguments."""

from torch import Tensor


def check_heads(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raises ValueError unless the three are `[batch, heads, length, width]`, of one floating dtype, equal but for the width of `value`."""
    if query.ndim != 4:
        raise ValueError(f"query must have the axes batch, heads, length, width, got shape {tuple(query.shape)}")
    if query.shape[3] < 1 or value.shape[-1] < 1:
        raise ValueError(f"query and value must be at least 1 wide, got {query.shape[3]} and {value.shape[-1]}")
    if key.shape != query.shape:
        raise ValueError(f"key must have query's shape {tuple(query.shape)}, got {tuple(key.shape)}")
    if value.shape[:-1] != query.shape[:-1]:
        raise ValueError(f"value must have query's batch, heads and length {tuple(query.shape[:-1])}, got {tuple(value.shape[:-1])}")
    if not query.is_floating_point() or not query.dtype == key.dtype == value.dtype:
        raise ValueError(f"query, key and value must share one floating dtype, got {query.dtype}, {key.dtype}, {value.dtype}")
