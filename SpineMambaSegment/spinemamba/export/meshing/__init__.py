"""From a label mask to a closed surface."""
