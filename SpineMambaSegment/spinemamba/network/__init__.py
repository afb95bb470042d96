"""The SpineMamba network: a U-shaped CNN with residual visual Mamba layers and shape priors.

Symbols: B batch size, C channels, (D, H, W) grid of voxels along z, y, x, L = D H W tokens,
E inner channels of a Mamba layer, S states per inner channel, K scan orders, R rank of the step
sizes, N classes of the shape prior, T tokens of the grid of the shape prior.
"""
