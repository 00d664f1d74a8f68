"""Arrays in, arrays out: no tape, no layers. A folder per family of operations, a file per backend."""
