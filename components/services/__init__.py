"""Stateless services: an API Deployment and, where a service reads Kafka, a consumer Deployment."""
