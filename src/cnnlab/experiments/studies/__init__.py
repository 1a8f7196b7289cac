"""The studies, a file each; the name of a study is that of its file."""
