"""Networks whose products run on a datapath: layers, conversion, counts, optimisers."""
