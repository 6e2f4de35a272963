"""The Cloudflare zone in front of the gateway."""
