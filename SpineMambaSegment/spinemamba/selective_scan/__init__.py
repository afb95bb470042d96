"""The selective scan of Mamba: a slow reference, and fast back ends that are compared with it.

Symbols: L tokens, d channels, n states per channel, K scan orders, r rank of the step sizes. u is
the input signal, delta the step sizes, A the decay rates, B and C the input and output weights,
D the weight of the direct path, y the output.
"""
