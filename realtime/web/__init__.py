"""A page that finds faces and names their expressions in the browser, from the files that Python runs."""
