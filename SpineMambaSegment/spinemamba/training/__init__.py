"""Training: data, synthesis of images, loss, training loop and checkpoints."""
