# An example to copy: two regions and what they share. infra/README.md has the steps.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.47"
    }
  }

  # State holds names and ARNs, no secrets but the edge's header. Where it is, is
  # given at init: -backend-config=backend.hcl. Versions and a lock are on.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
