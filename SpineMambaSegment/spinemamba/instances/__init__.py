"""From voxel predictions to one instance per vertebra."""
