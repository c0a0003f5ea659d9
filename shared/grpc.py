"""What all our gRPC servers are started with."""

# A client keeps its connections for as long as they live, and so would never hear of new pods. gRPC spreads this by a
# tenth, so that not all come back at once.
MAX_AGE_SECONDS = 60.0
# Of a connection that has reached its age: calls under way on it may take so long.
AGE_GRACE_SECONDS = 30.0


def server_options(max_message_bytes: int, max_age_seconds: float = MAX_AGE_SECONDS) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_connection_age_ms", int(max_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", int(AGE_GRACE_SECONDS * 1000)),
        # Else a second server could listen on the same port, and take half of the calls.
        ("grpc.so_reuseport", 0),
    ]
