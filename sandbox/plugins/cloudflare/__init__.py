"""A stand-in for Pulumi's Cloudflare plugin that speaks to a fake of the API on this machine, and to nothing else."""
