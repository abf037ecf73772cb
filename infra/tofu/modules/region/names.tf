# Every name in one place. Stream, tables, bucket and key are called as
# `tallystream setup` calls them: infra/tofu's tests compare both.

locals {
  name = "tallystream-${var.election}"

  stream_name   = "${local.name}-stream"
  ledger_name   = "${local.name}-ledger"
  control_name  = "${local.name}-control"
  signing_alias = "alias/${local.name}-publish"
  data_alias    = "alias/${local.name}-data"

  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  is_home   = var.home_region == var.region
  writes    = var.writer_region == var.region

  # Bucket names are global; the account and the region keep them apart.
  bucket_name = "${local.name}-${local.account}-${var.region}"

  # The election's truth, wherever it is. Services are given these and no others.
  home_bucket = "${local.name}-${local.account}-${var.home_region}"

  home_stream_arn  = "arn:${local.partition}:kinesis:${var.home_region}:${local.account}:stream/${local.stream_name}"
  home_ledger_arn  = "arn:${local.partition}:dynamodb:${var.home_region}:${local.account}:table/${local.ledger_name}"
  home_control_arn = "arn:${local.partition}:dynamodb:${var.home_region}:${local.account}:table/${local.control_name}"
  home_bucket_arn  = "arn:${local.partition}:s3:::${local.home_bucket}"

  tags = merge(var.tags, { Election = var.election, Region = var.region, ManagedBy = "opentofu" })
}
