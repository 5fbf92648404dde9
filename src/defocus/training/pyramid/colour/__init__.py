"""Colour scenes that train both networks of the pyramid method, with the blur of every pixel."""
