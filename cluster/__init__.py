"""The only room that knows Ray: sessions, lanes and the service that drives a job over them."""
