"""What lies in a folder: pairs of pictures and of raw files, by layout or by list."""
