# What ECS needs to start a task: its image, its secrets, its log. One role a
# service, so that none can be started with another's secrets.

data "aws_iam_policy_document" "start" {
  for_each = local.secrets_of

  statement {
    sid       = "RegistryToken" # an action without resources: AWS takes only "*"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for r in aws_ecr_repository.this : r.arn]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.service[each.key].arn}:log-stream:*"]
  }

  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for s in each.value : aws_secretsmanager_secret.this[s].arn]
  }

  statement {
    sid       = "EncryptedSecrets"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.data.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${var.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "start" {
  for_each = local.secrets_of

  name               = "${local.name}-${each.key}-start-${var.region}"
  description        = "Starts tasks of ${each.key}."
  assume_role_policy = data.aws_iam_policy_document.task_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "start" {
  for_each = local.secrets_of

  name   = "start"
  role   = aws_iam_role.start[each.key].id
  policy = data.aws_iam_policy_document.start[each.key].json
}

# The collector beside each service writes metrics. It runs with the task's role.
data "aws_iam_policy_document" "metrics" {
  for_each = local.services

  statement {
    sid       = "MetricsAsLogs" # CloudWatch makes metrics of them (embedded metric format)
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.metrics.arn}:log-stream:*"]
  }

  dynamic "statement" {
    for_each = var.prometheus == null ? [] : [var.prometheus]

    content {
      sid       = "RemoteWrite"
      actions   = ["aps:RemoteWrite"]
      resources = [statement.value.workspace_arn]
    }
  }
}

resource "aws_iam_role_policy" "metrics" {
  for_each = local.services

  name   = "metrics"
  role   = aws_iam_role.task[each.key].id
  policy = data.aws_iam_policy_document.metrics[each.key].json
}
