"""Training of the level network: random chains of vertebrae, their crops, and the loop."""
