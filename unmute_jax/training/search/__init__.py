"""The search for a learning rate and a weight decay."""
