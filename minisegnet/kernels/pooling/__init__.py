"""Max-pooling with the places of the maxima, and writing to and reading from such places."""
