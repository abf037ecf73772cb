# The bucket's copy in the second region: what CloudFront falls back to, and what a
# new home is counted again from when this one is lost (infra/runbooks/region-lost.md).
# The rule stands in every region, so that it works in both directions after a move;
# S3 does not copy replicas back.

data "aws_iam_policy_document" "replication_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "replication" {
  statement {
    sid       = "ReadConfiguration"
    actions   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
    resources = [aws_s3_bucket.published.arn]
  }

  statement {
    sid = "ReadVersions"
    actions = [
      "s3:GetObjectLegalHold",
      "s3:GetObjectRetention",
      "s3:GetObjectVersionAcl",
      "s3:GetObjectVersionForReplication",
      "s3:GetObjectVersionTagging",
    ]
    resources = ["${aws_s3_bucket.published.arn}/*"]
  }

  statement {
    sid       = "WriteCopies" # without s3:ReplicateDelete: nothing published is ever deleted
    actions   = ["s3:ReplicateObject", "s3:ReplicateTags"]
    resources = ["${var.replica_bucket_arn}/*"]
  }
}

resource "aws_iam_role" "replication" {
  name               = "${local.name}-replication-${var.region}"
  description        = "Copies the published bucket to another region."
  assume_role_policy = data.aws_iam_policy_document.replication_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "replication" {
  name   = "replication"
  role   = aws_iam_role.replication.id
  policy = data.aws_iam_policy_document.replication.json
}

resource "aws_s3_bucket_replication_configuration" "published" {
  bucket = aws_s3_bucket.published.id
  role   = aws_iam_role.replication.arn

  rule {
    id     = "everything"
    status = "Enabled"

    filter {}

    delete_marker_replication {
      status = "Disabled"
    }

    destination {
      bucket        = var.replica_bucket_arn
      storage_class = "STANDARD"

      # 15 minutes are what AWS promises and alarms on; seconds are usual.
      replication_time {
        status = "Enabled"

        time {
          minutes = 15
        }
      }

      metrics {
        status = "Enabled"

        event_threshold {
          minutes = 15
        }
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.published]
}
