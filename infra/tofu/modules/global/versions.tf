# What a deployment has once: the edge, names, certificates, budget. The provider
# must be of us-east-1, where CloudFront keeps its certificates, filters and metrics.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source                = "hashicorp/aws"
      version               = "~> 6.47"
      configuration_aliases = [aws.archive] # the second account, also in us-east-1
    }
  }
}

data "aws_caller_identity" "this" {}

data "aws_caller_identity" "archive" {
  provider = aws.archive
}

data "aws_partition" "this" {}

data "aws_region" "this" {
  lifecycle {
    postcondition {
      condition     = self.region == "us-east-1"
      error_message = "The global module's provider must be of us-east-1: CloudFront takes certificates and web ACLs from there only."
    }
  }
}
