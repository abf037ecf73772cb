# Made of a file of rules: go run ./infra/edge/rules vcl rules.json > rules.vcl

acl hops {
}

acl refused {
}

acl decoyed {
}

sub rules_verdict {
    if (client.ip !~ hops) {
        if (client.ip ~ refused) {
            set req.http.X-Edge-Verdict = "refused";
            return;
        }
        if (client.ip ~ decoyed) {
            set req.http.X-Edge-Verdict = "decoy";
        }
    }
}
