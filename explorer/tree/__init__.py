"""Pure functions on pytrees that know no roles: walking, collections, partition."""
