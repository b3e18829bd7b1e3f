"""A file for each page: what its template says, from the registry and the page's address."""
