"""How much is needed: from a load and measured capacities to pods, consumers, partitions and connections."""
