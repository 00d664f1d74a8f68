"""One step of an optimizer, in place."""
