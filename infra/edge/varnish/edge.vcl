vcl 4.1;

# The rules of infra/edge for those who run their own edge. site.vcl says who and where,
# rules.vcl what is banned and closed tonight; this file changes with neither.
# One rule's order and answer here are those of source/*.js: testdata/cases.json is
# played against both.

import std;
include "./site.vcl";
include "./rules.vcl";

sub vcl_recv {
    # Said by us alone, whatever the viewer sends.
    unset req.http.X-Edge-Verdict;
    if (req.restarts == 0) {
        # Who this is before the public is for site.vcl to say.
        unset req.http.X-Edge-Role;
        unset req.http.X-Edge-Allow;
        unset req.http.X-Edge-Attempt;
        call site_role;
        # Only a hop that ends TLS for us knows the country.
        if (remote.ip !~ terminators) {
            unset req.http.X-Viewer-Country;
        }
    }
    unset req.http.Proxy;
    unset req.http.Cookie;

    if (req.http.X-Edge-Role != "results" && req.http.X-Edge-Role != "ingest") {
        return (synth(421, "Misdirected Request"));
    }
    set req.http.X-Edge-Agent = regsub(req.http.User-Agent, "^(.{512}).*$", "\1");
    call rules_verdict;
    unset req.http.X-Edge-Agent;
    if (req.http.X-Edge-Verdict == "closed") {
        return (synth(503, "Service Unavailable"));
    }
    # A decoy is for the results host alone, and for nothing that a submission client asks.
    if (req.http.X-Edge-Verdict == "decoy" && req.http.X-Edge-Role == "results"
        && req.method ~ "^(GET|HEAD)$" && req.url !~ "(?i)^/{0,8}v1") {
        return (synth(750, "decoy"));
    }
    if (req.http.X-Edge-Verdict) {
        return (synth(403, "Forbidden"));
    }

    # One spelling of a path. The query is in no key and goes no further.
    set req.url = regsub(req.url, "\?.*$", "");
    if (req.http.X-Edge-Role == "ingest") {
        call submission;
    } else {
        call reading;
    }
}

# Submissions: passed on or refused, never answered from here.
sub submission {
    if (req.url ~ "^.{513}") {
        return (synth(404, "Not Found"));
    }
    set req.url = regsuball(req.url, "/+", "/");
    if (req.url !~ "^/v1/(submissions|releases|key)$" && req.url !~ "^/v1/submissions/[a-z0-9][a-z0-9._-]{0,95}$") {
        return (synth(404, "Not Found"));
    }
    if (req.url == "/v1/submissions" || req.url == "/v1/releases") {
        if (req.method != "POST") {
            set req.http.X-Edge-Allow = "POST";
            return (synth(405, "Method Not Allowed"));
        }
    } else if (req.method !~ "^(GET|HEAD)$") {
        set req.http.X-Edge-Allow = "GET, HEAD";
        return (synth(405, "Method Not Allowed"));
    }
    # Whom this is from, whatever it says of that.
    set req.http.X-Forwarded-For = client.ip;
    set req.backend_hint = ingest;
    return (pass);
}

sub reading {
    if (req.method !~ "^(GET|HEAD)$") {
        set req.http.X-Edge-Allow = "GET, HEAD";
        return (synth(405, "Method Not Allowed"));
    }
    if (req.url ~ "^.{513}") {
        return (synth(404, "Not Found"));
    }
    if (req.url ~ "^/{1,8}$") {
        set req.url = "/index.html";
    }
    set req.url = regsuball(req.url, "/+", "/");
    if (req.url !~ "^/(latest|checkpoint|pause|(index|contests|corrections|holds)\.html|config\.json|roster\.json|definition\.json)$"
        && req.url !~ "^/(county|contest|state)/[a-z0-9][a-z0-9._-]{0,95}\.html$"
        && req.url !~ "^/(documents|units|manifests|corrections|holds|remainders)/([0-9a-f]{2})/\2[0-9a-f]{62}\.ndjson$"
        && req.url !~ "^/rosters/([0-9a-f]{2})/\1[0-9a-f]{62}\.json$"
        && req.url !~ "^/assets/([0-9a-f]{2})/\1[0-9a-f]{62}\.(css|js)$"
        && req.url !~ "^/snapshots/[0-9]{9,19}$"
        && req.url !~ "^/csv/[0-9]{9,19}-[0-9]{1,19}/[a-z0-9][a-z0-9._-]{0,95}\.csv$"
        && req.url !~ "^/cdf/[0-9]{9,19}-[0-9]{1,19}(/[a-z0-9][a-z0-9._-]{0,95})?\.json\.gz$"
        && req.url !~ "^/tile/([0-9]|[1-5][0-9]|6[0-3]|entries)/(x[0-9]{3}/){0,6}[0-9]{3}(\.p/([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$"
        && req.url !~ "^/schemas/[a-z0-9-]{1,64}\.schema\.json$") {
        return (synth(404, "Not Found"));
    }
    # What published bytes depend on is the path; so is the key. An origin that is asked
    # less can be hurt less.
    unset req.http.Authorization;
    unset req.http.X-Forwarded-For;
    set req.backend_hint = published.backend();
    # Two seconds old while one request fetches; a day old rather than an error.
    if (req.restarts == 0 && std.healthy(req.backend_hint)) {
        set req.grace = 2s;
    } else {
        set req.grace = 24h;
    }
    return (hash);
}

# The path alone: every name of the results host has one cache.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_fetch {
    unset bereq.http.X-Edge-Role;
    unset bereq.http.X-Viewer-Country;
    if (bereq.retries > 0) {
        set bereq.backend = replica;
    }
}

sub vcl_backend_response {
    if (bereq.uncacheable) {
        return (deliver);
    }
    unset beresp.http.Set-Cookie;
    if (!beresp.http.Cache-Control) {
        set beresp.ttl = 1s;
    }
    # The other origin is asked for what this one lacks or fails at: a copy may lag.
    if ((beresp.status == 403 || beresp.status == 404 || beresp.status >= 500) && bereq.retries == 0) {
        return (retry);
    }
    if (beresp.status >= 500) {
        # Never in the place of something good: while there is a stale one, that stays.
        if (bereq.is_bgfetch || bereq.http.X-Edge-Attempt != "last") {
            return (abandon);
        }
        set beresp.ttl = 1s;
        set beresp.grace = 0s;
        return (deliver);
    }
    if (beresp.status >= 400) {
        # What is not there yet will be in a moment, and it replaces nothing stale for long.
        set beresp.ttl = 1s;
        set beresp.grace = 0s;
        return (deliver);
    }
    # Pages are published each five seconds at most, so a second is too often to ask: a crowd
    # that looks at many contests would be one request in a hundred to the origin.
    if (bereq.url ~ "\.html$" || bereq.url ~ "^/(config|roster|definition)\.json$" || bereq.url ~ "^/schemas/") {
        set beresp.ttl = 5s;
    }
    set beresp.grace = 24h;
    return (deliver);
}

sub vcl_backend_error {
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "5";
    if (bereq.uncacheable) {
        set beresp.http.Content-Type = "application/problem+json";
        set beresp.body = {"{"type":"about:blank","title":"Service Unavailable","status":503}
"};
        return (deliver);
    }
    if (bereq.retries == 0) {
        return (retry);
    }
    if (bereq.is_bgfetch || bereq.http.X-Edge-Attempt != "last") {
        return (abandon);
    }
    set beresp.ttl = 1s; # a crowd asks a dead origin once a second
    set beresp.grace = 0s;
    set beresp.http.Content-Type = "text/plain; charset=utf-8";
    set beresp.body = "Service Unavailable" + {"
"};
    return (deliver);
}

sub vcl_deliver {
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    unset resp.http.Server;
    unset resp.http.X-Powered-By;
    if (obj.uncacheable) {
        return (deliver);
    }
    if (obj.hits > 0) {
        set resp.http.X-Cache = "hit";
    } else {
        set resp.http.X-Cache = "miss";
    }
}

sub vcl_synth {
    # The fetch was given up: a stale one is better, and may be a day old.
    if (resp.status == 503 && !req.http.X-Edge-Verdict && req.restarts == 0 && req.http.X-Edge-Role == "results") {
        set req.http.X-Edge-Attempt = "last";
        return (restart);
    }
    set resp.http.Cache-Control = "no-store";
    unset resp.http.Server;
    unset resp.http.X-Varnish;
    if (resp.status == 750) {
        # Says nothing of any result.
        set resp.status = 200;
        set resp.reason = "OK";
        set resp.http.Content-Type = "text/html; charset=utf-8";
        set resp.body = {"<!doctype html><html lang="en"><title>Results</title><p>Loading…</p></html>
"};
        return (deliver);
    }
    if (resp.status == 405) {
        set resp.http.Allow = req.http.X-Edge-Allow;
    }
    if (resp.status == 503) {
        set resp.http.Retry-After = "300";
    }
    if (req.http.X-Edge-Role == "ingest") {
        set resp.http.Content-Type = "application/problem+json";
        set resp.body = {"{"type":"about:blank","title":""} + resp.reason + {"","status":"} + resp.status + {"}
"};
    } else {
        set resp.http.Content-Type = "text/plain; charset=utf-8";
        set resp.body = resp.reason + {"
"};
    }
    return (deliver);
}
