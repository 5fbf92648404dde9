"""Training of the methods' weights, with one module or folder for each method that has weights."""
