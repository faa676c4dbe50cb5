"""Where bytes come from: stores of files, and the only code that opens them.

`store` says what a store is, `local` is the file system of this machine, `window` lets a
parser index a file that cannot be mapped, `writing` makes the files that explorer writes.
Nothing here knows a checkpoint format.
"""
