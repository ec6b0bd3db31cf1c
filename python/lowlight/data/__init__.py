"""Pictures to train and score on."""
