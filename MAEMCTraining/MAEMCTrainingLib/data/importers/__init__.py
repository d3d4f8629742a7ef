"""What data sets come as, and how it is read: tables, archives, DICOM trees, XML. The importers are in ``formats``."""
