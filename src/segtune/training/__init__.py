"""One training loop (`loop.train`), whatever trains: fine-tuning and pretraining differ in settings alone."""
