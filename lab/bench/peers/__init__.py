"""Who carries the payload of a cell: plain servers, other people's programs, and ours."""
