"""Training: cases, synthesis, losses and the loop. Needs the ``train`` extra."""
