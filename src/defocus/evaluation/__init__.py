"""Evaluation: metrics on maps, readers for data sets with truth, and renderers whose truth is exact."""
