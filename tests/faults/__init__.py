"""Real faults: full and failing disks, power cuts, flipped bits. Most need root, for mounts."""
