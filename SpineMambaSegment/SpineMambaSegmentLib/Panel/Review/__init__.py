"""The section *Check* of the panel: table, menus, clicks and editor of the review."""
