"""Batch normalization: statistics and gradient in training, a scale and a shift in evaluation."""
