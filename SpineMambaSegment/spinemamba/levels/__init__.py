"""From instances to level names: a hidden Markov model along the spine."""
