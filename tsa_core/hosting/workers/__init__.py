"""Several worker processes behind one listening socket."""
