# One region of a deployment: network, stream, ledger, bucket, keys, services.
# Used once a region; environments/example uses it twice.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.47"
      # archive is the second account, in the same region: load balancers
      # deliver their logs to buckets of their own region only.
      configuration_aliases = [aws.archive]
    }
  }
}

data "aws_caller_identity" "this" {}

data "aws_caller_identity" "archive" {
  provider = aws.archive
}

data "aws_partition" "this" {}
