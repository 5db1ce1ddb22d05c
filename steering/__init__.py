"""steering: picks the best appliance for each client, and says why."""
