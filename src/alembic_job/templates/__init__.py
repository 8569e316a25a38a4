"""The files that `init` writes, with `@NAME@` where something is filled in."""
