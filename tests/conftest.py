"""What holds for every test: Triton's interpreter, one thread, hypothesis without deadlines."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton; TRITON_INTERPRET=0 is for the gpu tier

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("quick", derandomize=True, deadline=None, max_examples=25)
settings.register_profile("full", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))  # ./lab test --full: "full"
