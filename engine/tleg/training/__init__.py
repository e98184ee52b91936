"""Training: learning a learngene in an auxiliary model, fine-tuning, evaluation."""
