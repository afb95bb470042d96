"""The selective scan of Mamba: a slow reference and fast back ends checked against it."""
