"""What becomes of a model after its training: whether new rows, predictions and labels still look as they did."""
