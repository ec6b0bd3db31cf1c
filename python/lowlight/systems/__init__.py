"""One published system a file: what it conditions on, its loss, how it enhances."""
