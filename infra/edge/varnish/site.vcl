# Who and where. Copy this file, and put your own in it.

import directors;

# Both serve the same bucket, or a copy of it: `tallystream fanout`, or any server of its
# directory. Each is asked whether it is well once a second.
probe well {
    .url = "/healthz";
    .interval = 1s;
    .timeout = 1s;
    .window = 3;
    .threshold = 2;
    .initial = 2;
}

backend home {
    .host = "127.0.0.1";
    .port = "8080";
    .probe = well;
    .connect_timeout = 2s;
    .first_byte_timeout = 5s;
    .max_connections = 200;
}

backend replica {
    .host = "127.0.0.1";
    .port = "8090";
    .probe = well;
    .connect_timeout = 2s;
    .first_byte_timeout = 5s;
    .max_connections = 200;
}

backend ingest {
    .host = "127.0.0.1";
    .port = "8081";
    .connect_timeout = 3s;
    .first_byte_timeout = 30s;
}

# Those who end TLS before this (haproxy, with the viewer's address in the PROXY protocol). They may
# say a viewer's country in X-Viewer-Country, and must overwrite what a viewer says of it.
acl terminators {
    "127.0.0.1";
    "::1";
}

sub vcl_init {
    new published = directors.fallback();
    published.add_backend(home);
    published.add_backend(replica);
}

sub site_role {
    if (req.http.Host ~ "^(?i)results\.example\.org(:[0-9]+)?$") {
        set req.http.X-Edge-Role = "results";
    } else if (req.http.Host ~ "^(?i)submit\.example\.org(:[0-9]+)?$") {
        set req.http.X-Edge-Role = "ingest";
    }
}
