"""Optics: blur kernels, linear light, the lens, and blur that differs from pixel to pixel."""
