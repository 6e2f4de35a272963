"""Kafka on Strimzi: the cluster, its topics and users, and what may reach it."""
