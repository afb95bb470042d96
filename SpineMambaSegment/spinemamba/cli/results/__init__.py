"""Commands on finished labels: measure, correct, compare, export, hand on."""
