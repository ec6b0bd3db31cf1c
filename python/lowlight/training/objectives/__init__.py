"""What a training minimises: a file a system."""
