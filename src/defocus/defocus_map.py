"""The result every method returns: sigma in pixels, its confidence and the seeds it grew from."""
