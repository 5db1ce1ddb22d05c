"""oca, the appliance: serves segments and byte ranges, fills its disks at night."""
