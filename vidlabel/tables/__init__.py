"""What is done with label files afterwards: filtered, checked again, counted. They are streamed, never held whole."""
