"""Several models of one architecture -> one: averages, SLERP, task vectors, TIES, DARE."""
