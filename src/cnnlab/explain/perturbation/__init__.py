"""The change of the score when a part of the image is replaced, computed with as little repeated work as possible."""
