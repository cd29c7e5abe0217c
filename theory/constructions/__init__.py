"""Models with weights set by hand that solve a task exactly: the constructive half of an expressiveness theorem."""
