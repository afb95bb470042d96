"""Images and label maps: reading, writing, grids, resampling, curved planar reformation."""
