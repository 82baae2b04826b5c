"""khw.artifacts: every binary and image, pinned, cached, checked."""
