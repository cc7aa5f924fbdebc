"""The tenant: billers and their API keys, and what it means for a table to be a tenant's."""
