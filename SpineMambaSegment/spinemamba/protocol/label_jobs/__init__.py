"""Jobs that work on label images without a network; `protocol.job` has all others."""
