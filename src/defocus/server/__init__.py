"""The server of `defocus page`: photographs, their maps and exports for a browser on this computer, and nobody else."""
