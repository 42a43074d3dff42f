"""HTTP: what every request and answer must be, the endpoints there are, and who may call them."""
