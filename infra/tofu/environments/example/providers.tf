# One provider a region and account. Both accounts are entered by a role; there are
# no keys here.

provider "aws" {
  alias               = "east"
  region              = "us-east-1"
  allowed_account_ids = [var.account]

  assume_role {
    role_arn = "arn:aws:iam::${var.account}:role/${var.deploy_role}"
  }
}

provider "aws" {
  alias               = "west"
  region              = "us-west-2"
  allowed_account_ids = [var.account]

  assume_role {
    role_arn = "arn:aws:iam::${var.account}:role/${var.deploy_role}"
  }
}

provider "aws" {
  alias               = "archive_east"
  region              = "us-east-1"
  allowed_account_ids = [var.archive_account]

  assume_role {
    role_arn = "arn:aws:iam::${var.archive_account}:role/${var.deploy_role}"
  }
}

provider "aws" {
  alias               = "archive_west"
  region              = "us-west-2"
  allowed_account_ids = [var.archive_account]

  assume_role {
    role_arn = "arn:aws:iam::${var.archive_account}:role/${var.deploy_role}"
  }
}
