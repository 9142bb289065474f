"""One module per step, named NNNN_what_it_does."""
