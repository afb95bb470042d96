"""The SpineMamba network: a U-shaped CNN with residual visual Mamba layers and shape priors.

Glossary: B batch, C channels, (D, H, W) grid of voxels along z, y, x, L = D H W tokens,
E inner channels of a Mamba layer, S state size, K scan orders, R rank of the step size,
N classes of the shape prior, T tokens of the prior's own grid.
"""
