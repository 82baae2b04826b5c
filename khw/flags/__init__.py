"""
Flags known before nodes are touched: what tasks render, held against the pinned binaries on the operator's side.

`rendered` says what each node would run and read, `help` which flags a binary has, `trial` lets a binary judge its own
command line and files and stops it there, `fields` judges files whose reader would ignore an unknown field.
docs/decisions/0020-flags.md says why each binary is asked the way it is.
"""
