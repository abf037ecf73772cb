# What all tests begin with.

account         = "111122223333"
archive_account = "444455556666"
election        = "franklin-2028"
zone_id         = "Z0123456789ABCDEFGHIJ"
origin_secret   = "0123456789abcdef0123456789abcdef"
owner           = "night desk"
cost_centre     = "elections"

hosts = {
  results = "results.example.org"
  ingest  = "submit.example.org"
  live    = "live.example.org"
}

images = {
  "us-east-1" = {
    tallystream = "111122223333.dkr.ecr.us-east-1.amazonaws.com/tallystream@sha256:0000000000000000000000000000000000000000000000000000000000000001"
    bus         = "111122223333.dkr.ecr.us-east-1.amazonaws.com/nats@sha256:0000000000000000000000000000000000000000000000000000000000000002"
    collector   = "111122223333.dkr.ecr.us-east-1.amazonaws.com/aws-otel-collector@sha256:0000000000000000000000000000000000000000000000000000000000000003"
  }
  "us-west-2" = {
    tallystream = "111122223333.dkr.ecr.us-west-2.amazonaws.com/tallystream@sha256:0000000000000000000000000000000000000000000000000000000000000001"
    bus         = "111122223333.dkr.ecr.us-west-2.amazonaws.com/nats@sha256:0000000000000000000000000000000000000000000000000000000000000002"
    collector   = "111122223333.dkr.ecr.us-west-2.amazonaws.com/aws-otel-collector@sha256:0000000000000000000000000000000000000000000000000000000000000003"
  }
}

edge_functions = {
  results = "tests/edge.js"
  ingest  = "tests/edge.js"
}

functions = {
  "us-east-1" = {
    bucket   = "releases"
    verifier = "results.example.org/franklin-2028+8c69285d+AXCC607T8BheKEBig1SsaRxzqKEZcW8APA7w7jrsmAjX"
    code = {
      verify = { key = "verify.zip", version = "1", sha256 = "q1ZKLkosSQUA" }
      notify = { key = "notify.zip", version = "1", sha256 = "q1ZKLkosSQUA" }
      latest = { key = "latest.zip", version = "1", sha256 = "q1ZKLkosSQUA" }
    }
  }
}

administrators     = ["arn:aws:iam::111122223333:role/keys"]
alarm_subscribers  = { "https://pager.example.org/tallystream" = "https" }
monthly_budget_usd = 5000

prewarm = {
  close = { schedule = "at(2028-11-07T18:00:00)", timezone = "America/Chicago", minimum = { ingest = 12, aggregate = 8, fanout = 40 } }
}
runbooks_url = "https://intranet.example.org/runbooks"
