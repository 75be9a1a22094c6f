"""Compare models by prediction: leave-one-out, K-fold, deviations, evidence, and one table."""
