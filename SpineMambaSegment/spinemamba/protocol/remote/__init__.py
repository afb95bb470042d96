"""Messages between `spinemamba serve` and its clients. Standard library only."""
