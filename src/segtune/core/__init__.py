"""The ground floor: the types every room shares, coordinates, errors, registries and durable files."""
