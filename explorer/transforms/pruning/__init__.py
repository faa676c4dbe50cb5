"""Parameters -> the same with zeros, or fewer of them: which, exactly how many, and what that saves."""
