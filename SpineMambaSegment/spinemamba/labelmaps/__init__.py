"""Label maps of a spine from any software: names, numbering schemes, changes."""
