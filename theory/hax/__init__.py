"""Claims on joint recall, on sparse attention that depends on what is read, and on what the published table shows (arXiv:2507.00449)."""
