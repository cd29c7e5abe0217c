"""What the Triton bodies share; imported by them alone, so that `recall_lab.kernels` needs no Triton."""
