"""How lenses blur: kernels, light, and blur that differs from pixel to pixel."""
