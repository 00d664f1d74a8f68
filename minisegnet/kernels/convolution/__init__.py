"""Convolution in its three directions: the output, the gradient of the input, the gradient of the weight."""
