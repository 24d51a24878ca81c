"""The search over learning rates and weight decays with search="sweep"."""
