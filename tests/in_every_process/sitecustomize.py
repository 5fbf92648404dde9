"""On the path of a test's processes, and of the workers they start: all know the method "fake"."""

from defocus.methods.registry import METHODS, Method

METHODS["fake"] = Method("fake", "sigma from brightness", "px", module="fake_method")
