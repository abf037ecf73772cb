# Submissions on their way in. Provisioned: a stream on demand spreads records with
# no regard to ExplicitHashKey, and a partition would no longer be in one shard.

variable "shards" {
  type        = number
  description = "Shards of the stream; each takes 1,000 records and 1 MB a second, and gives 2 MB a second."
  default     = 4

  validation {
    condition     = var.shards >= 2 && var.shards <= 1000 && floor(var.shards) == var.shards
    error_message = "shards must be a whole number from 2 (one alone is a single point of slowness) to 1000. `tallystream capacity` says how many a night needs."
  }
}

resource "aws_kinesis_stream" "submissions" {
  name             = local.stream_name
  shard_count      = var.shards
  retention_period = 168 # hours: a week to mend a fault of counting before the first submission is forgotten
  encryption_type  = "KMS"
  kms_key_id       = aws_kms_key.data.arn
  tags             = local.tags

  shard_level_metrics = [
    "IncomingBytes",
    "IncomingRecords",
    "IteratorAgeMilliseconds",
    "WriteProvisionedThroughputExceeded",
  ]

  stream_mode_details {
    stream_mode = "PROVISIONED"
  }

  lifecycle {
    prevent_destroy = true
  }
}

# Enhanced fan-out: 2 MB a second and shard for counting alone, pushed.
resource "aws_kinesis_stream_consumer" "aggregate" {
  name       = "${local.name}-aggregate"
  stream_arn = aws_kinesis_stream.submissions.arn
  tags       = local.tags
}
