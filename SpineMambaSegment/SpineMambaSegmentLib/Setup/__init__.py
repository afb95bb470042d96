"""Python packages, models and diagnostics. No Qt."""
