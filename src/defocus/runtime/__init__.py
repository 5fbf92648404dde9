"""What the package takes from the machine: cores, processes, and files that appear whole or not at all."""
