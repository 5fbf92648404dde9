"""The result of an estimate: the defocus map, its file format, pictures of it, and when a sigma counts as right."""
