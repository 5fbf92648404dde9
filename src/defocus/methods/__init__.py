"""The methods: one folder or file for each, with its own features, network and trained weights.

A new one is a folder or file here and one line in `defocus.methods.registry`.
"""

from defocus.methods.registry import METHODS, Method, MethodModule, available_methods, find_method

__all__ = ["METHODS", "Method", "MethodModule", "available_methods", "find_method"]
