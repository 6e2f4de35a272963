"""Rules, monitors, routes and dashboards as the program declares them."""
