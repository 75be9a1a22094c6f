"""Which model predicts better: leave-one-out, folds, deviations, the table."""
