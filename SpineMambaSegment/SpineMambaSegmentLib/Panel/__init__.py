"""Qt: the sections of the panel."""
