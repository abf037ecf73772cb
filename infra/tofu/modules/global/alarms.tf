# Alarms of the edge, and the topic that calls people about them.

data "aws_iam_policy_document" "alarms_key" {
  statement {
    sid       = "Administer"
    actions   = local.key_administration
    resources = ["*"] # in a key's own policy: this key

    principals {
      type        = "AWS"
      identifiers = var.administrators
    }
  }

  statement {
    sid       = "AlarmsAndBudgets"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

variable "administrators" {
  type        = list(string)
  description = "ARNs of the roles that administer the key of the alarms' topic."

  validation {
    condition     = length(var.administrators) > 0 && alltrue([for a in var.administrators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", a))])
    error_message = "administrators must be one or more ARNs of roles, without wildcards."
  }
}

locals {
  key_administration = [
    "kms:CancelKeyDeletion",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
  ]
}

resource "aws_kms_key" "alarms" {
  description             = "${local.name}: the edge's alarms"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.alarms_key.json
  tags                    = local.tags
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-edge-alarms"
  kms_master_key_id = aws_kms_key.alarms.arn
  tags              = local.tags
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsAndBudgetsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
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

resource "aws_cloudwatch_metric_alarm" "page_errors" {
  alarm_name          = "${local.name}-page-errors"
  alarm_description   = "More than one page in a thousand is answered with a server error. ${var.runbooks_url}/pages-fail.md"
  namespace           = "AWS/CloudFront"
  metric_name         = "5xxErrorRate"
  dimensions          = { DistributionId = aws_cloudfront_distribution.results.id, Region = "Global" }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0.1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "page-availability" })
}

resource "aws_cloudwatch_metric_alarm" "origin_hits" {
  alarm_name          = "${local.name}-hit-rate"
  alarm_description   = "The edge keeps too little: more than one request in twenty goes to the bucket. ${var.runbooks_url}/pages-fail.md"
  namespace           = "AWS/CloudFront"
  metric_name         = "CacheHitRate"
  dimensions          = { DistributionId = aws_cloudfront_distribution.results.id, Region = "Global" }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 95
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "page-availability" })
}

resource "aws_cloudwatch_metric_alarm" "region_unwell" {
  for_each = var.regions

  alarm_name          = "${local.name}-live-unwell-${each.key}"
  alarm_description   = "Viewers are sent away from ${each.key}: its balancer does not answer. ${var.runbooks_url}/region-lost.md"
  namespace           = "AWS/Route53"
  metric_name         = "HealthCheckStatus"
  dimensions          = { HealthCheckId = aws_route53_health_check.live[each.key].id }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "delivery-latency" })
}
