"""Training: which rows, in which batches, with which loss, in one visible loop that can be killed anywhere."""
