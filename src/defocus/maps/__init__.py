"""The result of an estimate: the map, its file format, its pictures, and what counts as right."""
