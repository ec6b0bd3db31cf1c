"""Pictures, tensors and contact sheets on the disk."""
