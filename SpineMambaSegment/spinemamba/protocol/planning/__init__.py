"""Plans: pedicles, screws and their tables, lines of Slicer. Standard library only."""
