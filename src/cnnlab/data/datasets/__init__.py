"""The named data sets, one per file; whatever registers itself here appears on the command line and in the docs."""
