"""Commands around a training: check a data set, print a recipe, exchange with nnU-Net."""
