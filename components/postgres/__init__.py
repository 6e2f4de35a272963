"""PostgreSQL under Patroni: etcd, the members, the poolers, backups and what keeps them in order."""
