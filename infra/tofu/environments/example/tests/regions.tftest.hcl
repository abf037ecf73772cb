# Which region may do what, with the provider mocked: nothing here reaches AWS.
# infra/tofu's Go test runs it where tofu or terraform is installed.

mock_provider "aws" {
  alias           = "east"
  override_during = plan
  source          = "./tests/mocks/east"
}

mock_provider "aws" {
  alias           = "west"
  override_during = plan
  source          = "./tests/mocks/west"
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

run "one_region_counts" {
  command = plan

  assert {
    condition     = output.counting == { "us-east-1" = true, "us-west-2" = false }
    error_message = "exactly us-east-1 must count"
  }

  assert {
    condition     = output.home_buckets == { "us-east-1" = "tallystream-franklin-2028-111122223333-us-east-1", "us-west-2" = "tallystream-franklin-2028-111122223333-us-east-1" }
    error_message = "both regions must use the stream, ledger and bucket of us-east-1"
  }

  assert {
    condition     = output.names["us-east-1"].bucket == "tallystream-franklin-2028-111122223333-us-east-1" && output.names["us-west-2"].bucket == "tallystream-franklin-2028-111122223333-us-west-2"
    error_message = "buckets must be named as `tallystream setup` names them"
  }

  assert {
    condition     = output.archive_buckets == { "us-east-1" = "tallystream-franklin-2028-logs-444455556666-us-east-1", "us-west-2" = "tallystream-franklin-2028-logs-444455556666-us-west-2" }
    error_message = "each region's logs must go to a bucket that names the second account and the region"
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
    condition     = output.home_buckets == { "us-east-1" = "tallystream-franklin-2028-111122223333-us-east-1", "us-west-2" = "tallystream-franklin-2028-111122223333-us-east-1" }
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
    condition     = output.home_buckets == { "us-east-1" = "tallystream-franklin-2028-111122223333-us-west-2", "us-west-2" = "tallystream-franklin-2028-111122223333-us-west-2" }
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
