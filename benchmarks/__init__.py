"""Speed and memory against the obvious alternatives, side by side in one process."""
