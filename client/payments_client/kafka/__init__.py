"""Kafka for the services: what the contract promises, the partitioner, a producer and a consumer runner.

``contract`` and ``partitioner`` need no Kafka library; the others need the extra ``payments-client[kafka]``.
"""
