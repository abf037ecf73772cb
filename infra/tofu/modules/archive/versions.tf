# A bucket of logs in the second account, which nobody of the first can change. Its
# only provider is of that account; the modules whose logs these are hand it over.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.47"
    }
  }
}

data "aws_caller_identity" "this" {}
