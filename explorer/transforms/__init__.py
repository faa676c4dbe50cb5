"""Parameters -> parameters: quantised, pruned, adapted, combined; with a record of what changed."""
