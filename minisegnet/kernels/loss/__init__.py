"""Softmax cross-entropy, pixel by pixel."""
