"""Quality flags of levels and shapes, and the result of a run."""
