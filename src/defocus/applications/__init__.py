"""What to do with a defocus map: masks, more blur, less blur, depth. One file per application."""
