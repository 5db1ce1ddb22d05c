"""What a site's routers announce: from exabgp's JSON lines to the file that the agent reads."""
