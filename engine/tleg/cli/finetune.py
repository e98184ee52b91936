"""`tleg finetune`."""
