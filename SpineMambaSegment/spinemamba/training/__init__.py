"""Training: cases, appearance, losses and the loop."""
