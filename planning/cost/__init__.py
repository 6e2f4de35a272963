"""What a stack costs in a month, from its rendered manifests and the stack's price table."""
