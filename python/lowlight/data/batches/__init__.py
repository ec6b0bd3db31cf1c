"""Batches for training: drawn, cut, kept in memory and read ahead."""
