"""Inference: model files, devices, sliding window, coarse and fine stage."""
