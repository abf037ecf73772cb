# One alarm or more for each objective of infra/alerts/README.md, by what AWS itself
# measures or the services say. They go to the region's own topic: an alarm can only
# call a topic of its region. Prometheus has the same objectives with finer rules.

variable "alarm_subscribers" {
  type        = map(string)
  description = "Who is called, by endpoint: https URLs of a pager or e-mail addresses. Each has to confirm."

  validation {
    condition     = length(var.alarm_subscribers) > 0 && alltrue([for p in values(var.alarm_subscribers) : contains(["https", "email"], p)])
    error_message = "alarm_subscribers must have at least one endpoint, each with the protocol https or email."
  }
}

variable "runbooks_url" {
  type        = string
  description = "Where infra/runbooks is published for those on duty; the alarms link to it."

  validation {
    condition     = startswith(var.runbooks_url, "https://") && !endswith(var.runbooks_url, "/")
    error_message = "runbooks_url must be an https URL without a slash at its end."
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = aws_kms_key.data.arn
  tags              = local.tags
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = var.alarm_subscribers

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = each.value
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "ingest_errors" {
  alarm_name          = "${local.name}-ingest-errors"
  alarm_description   = "More than 0.1% of submissions are answered with a server error. ${var.runbooks_url}/ingest-refuses.md"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0.1
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching" # nobody submits
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "ingest-availability" })

  metric_query {
    id          = "percent"
    expression  = "100 * (FILL(failed, 0) + FILL(unreached, 0)) / requests"
    return_data = true
  }

  metric_query {
    id = "failed"

    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "HTTPCode_Target_5XX_Count"
      period      = 60
      stat        = "Sum"
      dimensions  = { LoadBalancer = aws_lb.ingest.arn_suffix }
    }
  }

  metric_query {
    id = "unreached"

    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "HTTPCode_ELB_5XX_Count"
      period      = 60
      stat        = "Sum"
      dimensions  = { LoadBalancer = aws_lb.ingest.arn_suffix }
    }
  }

  metric_query {
    id = "requests"

    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "RequestCount"
      period      = 60
      stat        = "Sum"
      dimensions  = { LoadBalancer = aws_lb.ingest.arn_suffix }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "receipt_latency" {
  alarm_name          = "${local.name}-receipt-latency"
  alarm_description   = "One submission in a hundred waits longer than a second for its receipt. ${var.runbooks_url}/ingest-refuses.md"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "TargetResponseTime"
  dimensions          = { LoadBalancer = aws_lb.ingest.arn_suffix }
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "receipt-latency" })
}

resource "aws_cloudwatch_metric_alarm" "stream_throttles" {
  count = local.is_home ? 1 : 0

  alarm_name          = "${local.name}-stream-throttles"
  alarm_description   = "The stream refuses records: ingest will answer 503 when its queue is full. ${var.runbooks_url}/stream-throttles.md"
  namespace           = "AWS/Kinesis"
  metric_name         = "WriteProvisionedThroughputExceeded"
  dimensions          = { StreamName = aws_kinesis_stream.submissions.name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "ingest-availability" })
}

resource "aws_cloudwatch_metric_alarm" "counting_lag" {
  count = local.writes ? 1 : 0

  alarm_name          = "${local.name}-counting-lag"
  alarm_description   = "A submission waits longer than 30 seconds to be counted. ${var.runbooks_url}/counting-lags.md"
  namespace           = local.metric_namespace
  metric_name         = "tallystream_aggregate_lag_seconds"
  dimensions          = { election = var.election, service = "aggregate" }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 30
  treat_missing_data  = "breaching" # nobody counts
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "counting-lag" })
}

resource "aws_cloudwatch_metric_alarm" "snapshot_age" {
  count = local.writes ? 1 : 0

  alarm_name          = "${local.name}-snapshot-age"
  alarm_description   = "No new snapshot for two minutes; the pages say so. ${var.runbooks_url}/publishing-stopped.md"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 120
  evaluation_periods  = 2
  treat_missing_data  = "breaching" # nobody publishes
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "snapshot-freshness" })

  metric_query {
    id          = "age"
    expression  = "EPOCH(published) + PERIOD(published) - published" # the end of the minute less the newest snapshot
    return_data = true
  }

  metric_query {
    id = "published"

    metric {
      namespace   = local.metric_namespace
      metric_name = "tallystream_publish_snapshot_timestamp_seconds"
      period      = 60
      stat        = "Maximum"
      dimensions  = { election = var.election, service = "publish" }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "double_entry" {
  count = local.writes ? 1 : 0

  alarm_name          = "${local.name}-double-entry"
  alarm_description   = "The ledger's tallies and the publisher's own count differ. Publishing has stopped; leave it so. ${var.runbooks_url}/double-entry.md"
  namespace           = local.metric_namespace
  metric_name         = "tallystream_publish_double_entry_balanced"
  dimensions          = { election = var.election, service = "publish" }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching" # snapshot_age says when nobody publishes
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "exactness" })
}

resource "aws_cloudwatch_metric_alarm" "publisher_stopped" {
  count = local.writes ? 1 : 0

  alarm_name          = "${local.name}-publisher-stopped"
  alarm_description   = "A sequencer stopped for good: fenced by another, or it cannot write the bytes it must. ${var.runbooks_url}/publishing-stopped.md"
  namespace           = local.metric_namespace
  metric_name         = "tallystream_publish_stopped"
  dimensions          = { election = var.election, service = "publish" }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "snapshot-freshness" })
}

# CloudWatch gets no percentiles of the services' histograms; the mean must be far
# below the 99th percentile's goal of half a second. Prometheus has the percentile.
resource "aws_cloudwatch_metric_alarm" "delivery_latency" {
  alarm_name          = "${local.name}-delivery-latency"
  alarm_description   = "Changes take too long to reach viewers. ${var.runbooks_url}/viewers-wait.md"
  namespace           = local.metric_namespace
  metric_name         = "tallystream_fanout_delivery_seconds"
  dimensions          = { election = var.election, service = "fanout" }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0.3
  treat_missing_data  = "notBreaching" # nothing changes
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "delivery-latency" })
}

resource "aws_cloudwatch_metric_alarm" "bus_lost" {
  alarm_name          = "${local.name}-bus-lost"
  alarm_description   = "A fanout task has lost the bus; its viewers follow the bucket, seconds later. ${var.runbooks_url}/viewers-wait.md"
  namespace           = local.metric_namespace
  metric_name         = "tallystream_bus_connected"
  dimensions          = { election = var.election, service = "fanout" }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "delivery-latency" })
}

resource "aws_cloudwatch_metric_alarm" "replica_behind" {
  alarm_name          = "${local.name}-replica-behind"
  alarm_description   = "The bucket's copy is more than 15 minutes behind: a move to the other region would count again from older files. ${var.runbooks_url}/region-lost.md"
  namespace           = "AWS/S3"
  metric_name         = "ReplicationLatency"
  dimensions          = { SourceBucket = local.bucket_name, DestinationBucket = split(":::", var.replica_bucket_arn)[1], RuleId = "everything" }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 900
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "page-availability" })
}

resource "aws_cloudwatch_metric_alarm" "ledger_throttles" {
  count = local.is_home ? 1 : 0

  alarm_name          = "${local.name}-ledger-throttles"
  alarm_description   = "The ledger refuses writes; counting falls behind. ${var.runbooks_url}/counting-lags.md"
  namespace           = "AWS/DynamoDB"
  metric_name         = "WriteThrottleEvents"
  dimensions          = { TableName = local.ledger_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "counting-lag" })
}

# Route 53 takes the region out of the rotation by this one.
resource "aws_cloudwatch_metric_alarm" "ingest_unwell" {
  alarm_name          = "${local.name}-ingest-unwell"
  alarm_description   = "No task of ingest is well in this region; submissions go to the other. ${var.runbooks_url}/ingest-refuses.md"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  dimensions          = { LoadBalancer = aws_lb.ingest.arn_suffix, TargetGroup = aws_lb_target_group.ingest.arn_suffix }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "ingest-availability" })
}
