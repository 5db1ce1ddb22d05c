"""HTTP/1.1 as RFC 9110 and RFC 9112 say it, without I/O: bytes in, decisions out."""
