"""A digital twin of the autoscalers: the controllers' arithmetic on the manifests that are rendered, and a plant."""
