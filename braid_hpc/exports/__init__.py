"""Giving data on: documents to other programs, tables and NeXus files to other libraries."""
