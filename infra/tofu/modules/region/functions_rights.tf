# What each function may do: what its code calls (infra/tofu's tests compare), and
# what Lambda does for it.

data "aws_iam_policy_document" "function_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  name               = "${local.name}-${each.key}-${var.region}"
  description        = "What the function ${each.key} may do."
  assume_role_policy = data.aws_iam_policy_document.function_trust.json
  tags               = local.tags
}

# Lambda's own part, the same for all.
data "aws_iam_policy_document" "function" {
  for_each = local.functions

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function[each.key].arn}:log-stream:*"]
  }

  statement {
    sid       = "WhatFailedTooOften"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.failed.arn]
  }

  statement {
    sid       = "EncryptedEnvironmentQueueAndTables"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.data.arn]
  }
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name   = "lambda"
  role   = aws_iam_role.function[each.key].id
  policy = data.aws_iam_policy_document.function[each.key].json
}

# verify keeps what it verified, and hands its answer on.
data "aws_iam_policy_document" "verify" {
  statement {
    sid       = "State"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.verified.arn}/${var.election}.state"]
  }

  statement {
    sid       = "TellMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.verified.arn]
  }

  statement {
    sid       = "HandOn"
    actions   = ["lambda:InvokeFunction"]
    resources = ["arn:${local.partition}:lambda:${var.region}:${local.account}:function:${local.name}-notify"]
  }
}

data "aws_iam_policy_document" "notify" {
  count = length(local.functions) > 0 ? 1 : 0

  statement {
    sid       = "Addresses"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [data.aws_secretsmanager_secret.notify[0].arn]
  }
}

# The pointer may be replaced; what it points to is only read. The table of this
# region says whether a publisher works here.
data "aws_iam_policy_document" "latest" {
  statement {
    sid       = "ReadPublished"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.published.arn}/*"]
  }

  statement {
    sid       = "ListSnapshots"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.published.arn]
  }

  statement {
    sid       = "MoveLatest"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.published.arn}/latest"]
  }

  statement {
    sid       = "ReadPublishersMark"
    actions   = ["dynamodb:GetItem"]
    resources = [aws_dynamodb_table.control.arn]
  }
}

locals {
  function_policies = length(local.functions) == 0 ? {} : {
    verify = data.aws_iam_policy_document.verify.json
    notify = data.aws_iam_policy_document.notify[0].json
    latest = data.aws_iam_policy_document.latest.json
  }
}

resource "aws_iam_role_policy" "function_own" {
  for_each = local.function_policies

  name   = each.key
  role   = aws_iam_role.function[each.key].id
  policy = each.value
}
