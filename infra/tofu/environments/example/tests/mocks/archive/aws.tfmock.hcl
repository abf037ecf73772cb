# The second account.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "444455556666"
  }
}

mock_data "aws_region" {
  defaults = {
    region = "us-east-1"
  }
}

mock_data "aws_iam_policy_document" {
  defaults = {
    json = "{}"
  }
}
