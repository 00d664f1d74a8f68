"""Bilinear resizing and its adjoint."""
