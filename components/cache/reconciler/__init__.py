"""The reconciler: brings the cache cluster to what is declared, one safe step at a time.

It runs as ``python -m reconciler`` in a pod that has Python's standard library and nothing else: the folder is
mounted from a ConfigMap, so its imports are relative and no other package of the platform is used.
"""
