"""The vocabulary of the toolkit: classes, model files, FER-2013, filters, data sets and networks."""
