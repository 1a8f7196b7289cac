"""Feature visualisation: images that gradient ascent makes for a class, a channel or a layer."""
