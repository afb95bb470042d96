"""Learning from real MR in which only the centres of the vertebral bodies are given."""
