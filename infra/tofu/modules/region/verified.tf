# What the function verify has verified, so that its next run reads only what is new.
# Nobody else writes here: who does decides what was verified. All of it can be
# computed again from public files, so no version is locked, and old ones go soon.

resource "aws_s3_bucket" "verified" {
  bucket        = "${local.name}-${local.account}-${var.region}-v"
  force_destroy = false
  tags          = local.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "verified" {
  bucket = aws_s3_bucket.verified.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "verified" {
  bucket                  = aws_s3_bucket.verified.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "verified" {
  bucket = aws_s3_bucket.verified.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "verified" {
  bucket = aws_s3_bucket.verified.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256" # made of public files alone
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "verified" {
  bucket = aws_s3_bucket.verified.id

  # A version for each snapshot: of a nation's night 120 MB each.
  rule {
    id     = "versions-of-a-day"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.verified]
}

data "aws_iam_policy_document" "verified" {
  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.verified.arn, "${aws_s3_bucket.verified.arn}/*"]

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
}

resource "aws_s3_bucket_policy" "verified" {
  bucket = aws_s3_bucket.verified.id
  policy = data.aws_iam_policy_document.verified.json

  depends_on = [aws_s3_bucket_public_access_block.verified]
}
