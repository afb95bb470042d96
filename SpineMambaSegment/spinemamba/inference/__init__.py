"""The two networks applied to an image: devices, sliding window, coarse and fine stage."""
