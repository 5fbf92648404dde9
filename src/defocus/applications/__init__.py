"""What to do with a defocus map: masks, more blur, less blur, depth, an order. One file per application."""
