"""Synthetic appearance of images: painting, augmentation, implants."""
