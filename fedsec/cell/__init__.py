"""One cell: its training, the evidence that its attack is handed, its score."""
