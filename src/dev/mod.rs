//! The one-command try-out: local CA, demo upstreams, first credentials.
