"""The edge: one neutral model of how requests enter, and its renderers."""
