"""The static front end: graphs with placeholders, and sessions."""
