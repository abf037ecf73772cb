# The edge's logs, in the second account. The name's beginning is what WAF asks for.

locals {
  archive_account = data.aws_caller_identity.archive.account_id
  archive_name    = "aws-waf-logs-${local.name}-${local.archive_account}"
  distributions   = { results = aws_cloudfront_distribution.results.arn, ingest = aws_cloudfront_distribution.ingest.arn }
}

resource "aws_s3_bucket" "archive" {
  provider = aws.archive

  bucket              = local.archive_name
  object_lock_enabled = true
  force_destroy       = false
  tags                = local.tags

  lifecycle {
    prevent_destroy = true

    precondition {
      condition     = local.archive_account != local.account
      error_message = "The provider aws.archive must be of a second account: an intruder in the first must not be able to remove the traces."
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "archive" {
  provider = aws.archive
  bucket   = aws_s3_bucket.archive.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "archive" {
  provider = aws.archive

  bucket                  = aws_s3_bucket.archive.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "archive" {
  provider = aws.archive
  bucket   = aws_s3_bucket.archive.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "archive" {
  provider = aws.archive
  bucket   = aws_s3_bucket.archive.id

  rule {
    default_retention {
      mode = "COMPLIANCE"
      days = var.log_retention_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.archive]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "archive" {
  provider = aws.archive
  bucket   = aws_s3_bucket.archive.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256" # log delivery from another account has no key of ours
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "archive" {
  provider = aws.archive
  bucket   = aws_s3_bucket.archive.id

  rule {
    id     = "retention"
    status = "Enabled"

    filter {}

    transition {
      days          = 90
      storage_class = "GLACIER_IR"
    }

    expiration {
      days = var.log_retention_days + 1
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.archive]
}

data "aws_iam_policy_document" "archive" {
  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.archive.arn, "${aws_s3_bucket.archive.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "Deliver"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.archive.arn}/AWSLogs/*"]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account, local.archive_account] # WAF delivers for the first, the delivery below for the second
    }
  }

  statement {
    sid       = "AskBeforeDelivery"
    actions   = ["s3:GetBucketAcl"]
    resources = [aws_s3_bucket.archive.arn]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account, local.archive_account]
    }
  }
}

resource "aws_s3_bucket_policy" "archive" {
  provider = aws.archive

  bucket = aws_s3_bucket.archive.id
  policy = data.aws_iam_policy_document.archive.json

  depends_on = [aws_s3_bucket_public_access_block.archive]
}

resource "aws_wafv2_web_acl_logging_configuration" "edge" {
  resource_arn            = aws_wafv2_web_acl.edge.arn
  log_destination_configs = [aws_s3_bucket.archive.arn]

  # Keys of media are in this header.
  redacted_fields {
    single_header {
      name = "authorization"
    }
  }

  depends_on = [aws_s3_bucket_policy.archive]
}

resource "aws_cloudwatch_log_delivery_source" "edge" {
  for_each = local.distributions

  name         = "${local.name}-${each.key}"
  log_type     = "ACCESS_LOGS"
  resource_arn = each.value
  tags         = local.tags
}

resource "aws_cloudwatch_log_delivery_destination" "archive" {
  provider = aws.archive

  name          = "${local.name}-edge"
  output_format = "parquet"
  tags          = local.tags

  delivery_destination_configuration {
    destination_resource_arn = aws_s3_bucket.archive.arn
  }

  depends_on = [aws_s3_bucket_policy.archive]
}

data "aws_iam_policy_document" "delivery" {
  statement {
    sid       = "DeliveriesOfTheFirstAccount"
    actions   = ["logs:CreateDelivery"]
    resources = [aws_cloudwatch_log_delivery_destination.archive.arn]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
}

resource "aws_cloudwatch_log_delivery_destination_policy" "archive" {
  provider = aws.archive

  delivery_destination_name   = aws_cloudwatch_log_delivery_destination.archive.name
  delivery_destination_policy = data.aws_iam_policy_document.delivery.json
}

resource "aws_cloudwatch_log_delivery" "edge" {
  for_each = aws_cloudwatch_log_delivery_source.edge

  delivery_source_name     = each.value.name
  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.archive.arn
  tags                     = local.tags

  depends_on = [aws_cloudwatch_log_delivery_destination_policy.archive]
}
