"""A study: variants of one training, each trained and measured alike, and a report on what they tell."""
