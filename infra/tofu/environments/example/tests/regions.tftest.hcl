# Which region may do what, with the provider mocked: nothing here reaches AWS.
# infra/tofu's Go test runs it where tofu or terraform is installed.

mock_provider "aws" {
  alias           = "east"
  override_during = plan
  source          = "./tests/mocks"
}

mock_provider "aws" {
  alias           = "west"
  override_during = plan
  source          = "./tests/mocks"
}

mock_provider "aws" {
  alias           = "archive_east"
  override_during = plan
  source          = "./tests/mocks/archive"
}

mock_provider "aws" {
  alias           = "archive_west"
  override_during = plan
  source          = "./tests/mocks/archive"
}

variables {
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
      bucket = "releases"
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
}

run "one_region_counts" {
  command = plan

  assert {
    condition     = output.counting == { "us-east-1" = true, "us-west-2" = false }
    error_message = "exactly us-east-1 must count"
  }

  assert {
    condition     = output.homes == { "us-east-1" = "us-east-1", "us-west-2" = "us-east-1" }
    error_message = "both regions must use the stream, ledger and bucket of us-east-1"
  }

  assert {
    condition     = output.names["us-east-1"].bucket == "tallystream-franklin-2028-111122223333-us-east-1" && output.names["us-west-2"].bucket == "tallystream-franklin-2028-111122223333-us-west-2"
    error_message = "buckets must be named as `tallystream setup` names them"
  }
}

run "the_writer_moves_alone" {
  command = plan

  variables {
    writer_region = "us-west-2"
  }

  assert {
    condition     = output.counting == { "us-east-1" = false, "us-west-2" = true }
    error_message = "exactly us-west-2 must count"
  }

  assert {
    condition     = output.homes == { "us-east-1" = "us-east-1", "us-west-2" = "us-east-1" }
    error_message = "the data must stay where it is"
  }
}

run "all_of_it_moves" {
  command = plan

  variables {
    home_region   = "us-west-2"
    writer_region = "us-west-2"
  }

  assert {
    condition     = output.homes == { "us-east-1" = "us-west-2", "us-west-2" = "us-west-2" }
    error_message = "both regions must use the stream, ledger and bucket of us-west-2"
  }
}

run "nonsense_is_refused" {
  command = plan

  variables {
    archive_account  = "111122223333"
    writer_region    = "eu-central-1"
    origin_secret    = "short"
    object_lock_days = 0
  }

  expect_failures = [
    var.archive_account,
    var.writer_region,
    var.origin_secret,
    var.object_lock_days,
  ]
}
