"""A file a data set or kind of file that can be imported; each has an ``IMPORTER``."""
