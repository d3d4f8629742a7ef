"""NRRD, MetaImage and NIfTI files: what they state and the voxels they hold, or why they cannot be used.

They are decoded here because a score must not rest on a damaged file. ITK fills missing voxels with zeros, mends
headers, checks no checksum inside NRRD and MetaImage, looks for another file of the same name, and crashes on some
headers.
"""
