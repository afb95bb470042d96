"""How fast and how exact the scans and the networks are on this computer."""
