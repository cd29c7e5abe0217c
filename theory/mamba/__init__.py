"""Claims about Mamba's operators, the selective scan (arXiv:2312.00752) and SSD (arXiv:2405.21060): what they are, cost and cannot do."""
