# What each service may do, and no more: named actions on named resources. Only the
# writing region's aggregate and publish can write, so IAM is a second fence behind
# the ledger's head.

data "aws_iam_policy_document" "task_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "task" {
  for_each = local.services

  name               = "${local.name}-${each.key}-${var.region}"
  description        = "What ${each.key} may do."
  assume_role_policy = data.aws_iam_policy_document.task_trust.json
  tags               = local.tags
}

# Ingest puts submissions into the stream and reads what became of a unit's, and how
# far counting is behind.
data "aws_iam_policy_document" "ingest" {
  statement {
    sid       = "Append"
    actions   = ["kinesis:PutRecords", "kinesis:DescribeStreamSummary"]
    resources = [local.home_stream_arn]
  }

  statement {
    sid       = "ReadStatesOfUnits"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.home_ledger_arn]
  }

  statement {
    sid       = "ReadLag"
    actions   = ["dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.home_control_arn]
  }

  statement {
    sid       = "EncryptedStreamAndLedger"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = [var.home.data_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["kinesis.${var.home_region}.amazonaws.com", "dynamodb.${var.home_region}.amazonaws.com"]
    }
  }

  # Changes of keys wait in the register, which is read anyway, and lie in the public
  # log: nothing else of the bucket is ingest's to read.
  dynamic "statement" {
    for_each = var.root_keys ? [1] : []

    content {
      sid       = "FollowKeys"
      actions   = ["s3:GetObject"]
      resources = ["${local.home_bucket_arn}/checkpoint", "${local.home_bucket_arn}/rosters/*", "${local.home_bucket_arn}/tile/*"]
    }
  }

  dynamic "statement" {
    for_each = var.root_keys ? [1] : []

    content {
      sid       = "TellMissingFromForbidden" # before the first snapshot there is no log
      actions   = ["s3:ListBucket"]
      resources = [local.home_bucket_arn]
    }
  }

  dynamic "statement" {
    for_each = var.release_pointer == null ? [] : [1]

    content {
      sid       = "ReadReleasePointer"
      actions   = ["s3:GetObject"]
      resources = [local.release_object_arn]
    }
  }

  dynamic "statement" {
    for_each = var.release_pointer == null ? [] : [1]

    content {
      sid       = "TellMissingPointerFromForbidden" # a pointer that is not there keeps a copy in, one that is forbidden raises an alert
      actions   = ["s3:ListBucket"]
      resources = [local.release_bucket_arn]
    }
  }
}

# Aggregate reads the stream and writes ledger and leases. TransactWriteItems has no
# right of its own: it needs those of the writes in it. There is no DeleteItem on the
# ledger: it forgets nothing.
data "aws_iam_policy_document" "aggregate" {
  statement {
    sid = "ReadStream"
    actions = [
      "kinesis:DescribeStreamSummary",
      "kinesis:GetRecords",
      "kinesis:GetShardIterator",
      "kinesis:ListShards",
    ]
    resources = [local.home_stream_arn]
  }

  statement {
    sid       = "ReadStreamPushed"
    actions   = ["kinesis:SubscribeToShard"]
    resources = ["${local.home_stream_arn}/consumer/${local.name}-aggregate:*"] # the end is the consumer's time of birth
  }

  statement {
    sid       = "ReadLedger"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.home_ledger_arn]
  }

  statement {
    sid       = "ReadLeases"
    actions   = ["dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.home_control_arn]
  }

  dynamic "statement" {
    for_each = local.writes ? [1] : []

    content {
      sid       = "WriteLedger"
      actions   = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      resources = [local.home_ledger_arn]
    }
  }

  dynamic "statement" {
    for_each = local.writes ? [1] : []

    content {
      sid       = "WriteLeases"
      actions   = ["dynamodb:DeleteItem", "dynamodb:PutItem"]
      resources = [local.home_control_arn]
    }
  }

  statement {
    sid       = "EncryptedStreamAndTables"
    actions   = ["kms:Decrypt"]
    resources = [var.home.data_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["kinesis.${var.home_region}.amazonaws.com", "dynamodb.${var.home_region}.amazonaws.com"]
    }
  }
}

# Publish reads the ledger, moves the publication head by compare-and-swap, puts
# objects and signs. It can delete nothing but its own lease.
data "aws_iam_policy_document" "publish" {
  statement {
    sid       = "ReadLedger"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.home_ledger_arn]
  }

  statement {
    sid       = "ReadHeadAndLease"
    actions   = ["dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.home_control_arn]
  }

  statement {
    sid       = "ReadPublished"
    actions   = ["s3:GetObject"]
    resources = ["${local.home_bucket_arn}/*"]
  }

  statement {
    sid       = "TellMissingFromForbidden" # without it S3 answers 403 for a key that is free
    actions   = ["s3:ListBucket"]
    resources = [local.home_bucket_arn]
  }

  statement {
    sid       = "ReadSigningKey"
    actions   = ["kms:GetPublicKey"]
    resources = [var.home.signing_key_arn]
  }

  dynamic "statement" {
    for_each = local.writes ? [1] : []

    content {
      sid       = "MoveHeadAndLease"
      actions   = ["dynamodb:DeleteItem", "dynamodb:PutItem"]
      resources = [local.home_control_arn]
    }
  }

  dynamic "statement" {
    for_each = local.writes ? [1] : []

    content {
      sid       = "Publish"
      actions   = ["s3:PutObject"]
      resources = ["${local.home_bucket_arn}/*"]
    }
  }

  dynamic "statement" {
    for_each = local.writes ? [1] : []

    content {
      sid       = "Sign"
      actions   = ["kms:Sign"]
      resources = [var.home.signing_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:SigningAlgorithm"
        values   = ["ED25519_SHA_512"]
      }
    }
  }

  statement {
    sid       = "EncryptedTables"
    actions   = ["kms:Decrypt"]
    resources = [var.home.data_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["dynamodb.${var.home_region}.amazonaws.com"]
    }
  }
}

# Fanout reads what everybody may read.
data "aws_iam_policy_document" "fanout" {
  statement {
    sid       = "ReadPublished"
    actions   = ["s3:GetObject"]
    resources = ["${local.home_bucket_arn}/*"]
  }

  statement {
    sid       = "TellMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = [local.home_bucket_arn]
  }

  dynamic "statement" {
    for_each = var.release_pointer == null ? [] : [1]

    content {
      sid       = "ReadReleasePointer"
      actions   = ["s3:GetObject"]
      resources = [local.release_object_arn]
    }
  }

  dynamic "statement" {
    for_each = var.release_pointer == null ? [] : [1]

    content {
      sid       = "TellMissingPointerFromForbidden" # a pointer that is not there keeps a copy in, one that is forbidden raises an alert
      actions   = ["s3:ListBucket"]
      resources = [local.release_bucket_arn]
    }
  }
}

locals {
  task_policies = {
    ingest    = data.aws_iam_policy_document.ingest.json
    aggregate = data.aws_iam_policy_document.aggregate.json
    publish   = data.aws_iam_policy_document.publish.json
    fanout    = data.aws_iam_policy_document.fanout.json
  }
}

resource "aws_iam_role_policy" "task" {
  for_each = local.task_policies

  name   = each.key
  role   = aws_iam_role.task[each.key].id
  policy = each.value
}
