# The bucket of logs by itself: it refuses to stand beside what it tells about, and
# to take what nobody named.

mock_provider "aws" {
  alias           = "archive"
  override_during = plan
  source          = "./tests/mocks/archive"
}

variables {
  name               = "tallystream-franklin-2028-logs-444455556666-us-east-1"
  account            = "111122223333"
  log_retention_days = 731
  tags               = { Owner = "elections@example.gov", CostCentre = "4711", Election = "franklin-2028", Region = "us-east-1" }

  deliveries = {
    Flow   = { service = "delivery.logs.amazonaws.com", prefixes = ["flow"], asks = true, condition = { variable = "aws:SourceAccount", values = ["111122223333"] } }
    Access = { service = "logdelivery.elasticloadbalancing.amazonaws.com", prefixes = ["ingest/AWSLogs/111122223333"], asks = false }
  }
}

run "in_a_second_account" {
  command = plan

  module {
    source = "../../modules/archive"
  }

  providers = {
    aws = aws.archive
  }

  assert {
    condition     = output.bucket == var.name
    error_message = "the bucket must have the name that it was given"
  }
}

run "not_in_the_account_whose_logs_they_are" {
  command = plan

  module {
    source = "../../modules/archive"
  }

  providers = {
    aws = aws.archive
  }

  variables {
    account = "444455556666"
  }

  expect_failures = [aws_s3_bucket.archive]
}

run "nor_for_everybody_everywhere_or_less_than_the_law_asks" {
  command = plan

  module {
    source = "../../modules/archive"
  }

  providers = {
    aws = aws.archive
  }

  variables {
    log_retention_days = 30
    tags               = {}

    deliveries = {
      Flow = { service = "delivery.logs.amazonaws.com", prefixes = ["*"], asks = true, condition = { variable = "aws:SourceVpc", values = ["vpc-1"] } }
    }
  }

  expect_failures = [var.deliveries, var.log_retention_days, var.tags]
}
