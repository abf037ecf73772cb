# Deliveries, and nothing else: who reads logs does so by rights of the second account.

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

  dynamic "statement" {
    for_each = var.deliveries
    iterator = delivery

    content {
      sid       = "Deliver${delivery.key}"
      actions   = ["s3:PutObject"]
      resources = [for prefix in delivery.value.prefixes : "${aws_s3_bucket.archive.arn}/${prefix}/*"]

      principals {
        type        = "Service"
        identifiers = [delivery.value.service]
      }

      dynamic "condition" {
        for_each = delivery.value.condition[*]

        content {
          test     = "StringEquals"
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }

  dynamic "statement" {
    for_each = { for name, delivery in var.deliveries : name => delivery if delivery.asks }
    iterator = delivery

    content {
      sid       = "AskBefore${delivery.key}"
      actions   = ["s3:GetBucketAcl"]
      resources = [aws_s3_bucket.archive.arn]

      principals {
        type        = "Service"
        identifiers = [delivery.value.service]
      }

      dynamic "condition" {
        for_each = delivery.value.condition[*]

        content {
          test     = "StringEquals"
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }
}

resource "aws_s3_bucket_policy" "archive" {
  bucket = aws_s3_bucket.archive.id
  policy = data.aws_iam_policy_document.archive.json

  depends_on = [aws_s3_bucket_public_access_block.archive]
}
