"""Target -> file: planned from headers, streamed tensor by tensor, complete or absent."""
