# What is published. Readable through CloudFront only; nobody may delete a version
# until the law's retention is over. Each region has one, and the home's is copied.

variable "distribution_arn" {
  type        = string
  description = "ARN of the CloudFront distribution that may read the bucket. Null until the global module has made it."
  default     = null

  validation {
    condition     = var.distribution_arn == null || can(regex("^arn:[a-z-]+:cloudfront::[0-9]{12}:distribution/[A-Z0-9]+$", var.distribution_arn))
    error_message = "distribution_arn must be the ARN of one CloudFront distribution."
  }
}

variable "object_lock_days" {
  type        = number
  description = "Days for which no version of a published object can be deleted by anybody. 670 are the 22 months of 52 U.S.C. 20701."
  default     = 670

  validation {
    condition     = var.object_lock_days >= 1
    error_message = "object_lock_days must be at least 1. A rehearsal wants 1, an election 670: it cannot be shortened afterwards."
  }
}

resource "aws_s3_bucket" "published" {
  bucket              = local.bucket_name
  object_lock_enabled = true
  force_destroy       = false
  tags                = local.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "published" {
  bucket = aws_s3_bucket.published.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "published" {
  bucket                  = aws_s3_bucket.published.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "published" {
  bucket = aws_s3_bucket.published.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "published" {
  bucket = aws_s3_bucket.published.id

  rule {
    default_retention {
      mode = "COMPLIANCE"
      days = var.object_lock_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.published]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "published" {
  bucket = aws_s3_bucket.published.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256" # all of it is public; a KMS key would only cost, a call for each object
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "published" {
  bucket = aws_s3_bucket.published.id

  # `latest` and the pages are replaced thousands of times in a night.
  rule {
    id     = "versions-after-retention"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.object_lock_days + 1
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.published]
}

data "aws_iam_policy_document" "published" {
  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.published.arn, "${aws_s3_bucket.published.arn}/*"]

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
    sid       = "TLS12"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.published.arn, "${aws_s3_bucket.published.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }

  dynamic "statement" {
    for_each = var.distribution_arn == null ? [] : [var.distribution_arn]

    content {
      sid       = "CloudFront"
      actions   = ["s3:GetObject"]
      resources = ["${aws_s3_bucket.published.arn}/*"]

      principals {
        type        = "Service"
        identifiers = ["cloudfront.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceArn"
        values   = [statement.value]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "published" {
  bucket = aws_s3_bucket.published.id
  policy = data.aws_iam_policy_document.published.json

  depends_on = [aws_s3_bucket_public_access_block.published]
}
