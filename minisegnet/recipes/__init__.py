"""Recipes: whole trainings from images to a judged network, each in one readable file."""
