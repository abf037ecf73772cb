# Small tasks as Lambda functions in Go (infra/functions has the code):
#   verify  each new snapshot, from public files, as anybody could
#   notify  turns alarms, failures of verify and its news into messages to people
#   latest  moves `latest` to the newest whole snapshot when this region takes over
# They stand outside the network: verify must see what the public sees.
# functions_rights.tf says what each may do.

variable "functions" {
  type = object({
    bucket   = string
    verifier = string
    code = map(object({
      key     = string
      version = string
      sha256  = string
    }))
  })
  description = "Where the functions' archives are: a versioned bucket, and by function the key, the version and the base64 SHA-256 that the release's build printed; and the verifier key that snapshots must be signed by (NAME+HASH+KEY, what viewers pin). Null: no functions."
  default     = null

  validation {
    condition     = var.functions == null || try(toset(keys(var.functions.code)) == toset(["verify", "notify", "latest"]), false)
    error_message = "functions.code must have verify, notify and latest."
  }

  validation {
    condition     = var.functions == null || try(can(regex("^[^+ ]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$", var.functions.verifier)), false)
    error_message = "functions.verifier must be a verifier key, NAME+HASH+KEY."
  }
}

variable "notify_secret_name" {
  type        = string
  description = "Name of the secret with the addresses and tokens that notify sends to; made by hand, in the same region."
  default     = "tallystream/notify"

  validation {
    condition     = can(regex("^[A-Za-z0-9/_+=.@-]+$", var.notify_secret_name))
    error_message = "notify_secret_name must be a name that Secrets Manager allows."
  }
}

locals {
  functions = var.functions == null ? {} : {
    verify = {
      timeout = 900  # to begin in the middle of a night; a run with a state takes seconds
      memory  = 3538 # two cores; 2 GB hold 180,000 units and what is remembered of the site
      at_once = 1    # each run verifies all there is, and the next has nothing to do
      environment = {
        TALLYSTREAM_URL          = "https://${var.hosts.results}"
        TALLYSTREAM_KEY          = var.functions.verifier
        TALLYSTREAM_STATE_BUCKET = aws_s3_bucket.verified.bucket
      }
    }
    notify = {
      timeout = 30
      memory  = 256
      at_once = 10
      environment = {
        TALLYSTREAM_NOTIFY_SECRET = var.notify_secret_name
        TALLYSTREAM_URL           = "https://${var.hosts.results}"
      }
    }
    latest = {
      timeout = 120
      memory  = 512
      at_once = 1
      environment = {
        TALLYSTREAM_AWS_BUCKET = local.bucket_name
        TALLYSTREAM_KEY        = var.functions.verifier
      }
    }
  }
}

data "aws_secretsmanager_secret" "notify" {
  count = length(local.functions) > 0 ? 1 : 0

  name = var.notify_secret_name
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/${local.name}/function/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.data.arn
  tags              = local.tags
}

resource "aws_sqs_queue" "failed" {
  name                      = "${local.name}-failed-events"
  message_retention_seconds = 1209600
  kms_master_key_id         = aws_kms_key.data.arn
  tags                      = local.tags
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  function_name                  = "${local.name}-${each.key}"
  role                           = aws_iam_role.function[each.key].arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = ["arm64"]
  s3_bucket                      = var.functions.bucket
  s3_key                         = var.functions.code[each.key].key
  s3_object_version              = var.functions.code[each.key].version
  source_code_hash               = var.functions.code[each.key].sha256
  timeout                        = each.value.timeout
  memory_size                    = each.value.memory
  reserved_concurrent_executions = each.value.at_once
  kms_key_arn                    = aws_kms_key.data.arn
  tags                           = local.tags

  environment {
    variables = merge(each.value.environment, { TALLYSTREAM_ELECTION = var.election })
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.failed.arn
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }

  depends_on = [aws_iam_role_policy.function, aws_iam_role_policy.function_own]
}

# What verify says goes to notify: its news, or why it gave up. The alarm below is the
# other way, which needs neither.
resource "aws_lambda_function_event_invoke_config" "verify" {
  count = length(local.functions) > 0 ? 1 : 0

  function_name                = aws_lambda_function.this["verify"].function_name
  maximum_event_age_in_seconds = 3600
  maximum_retry_attempts       = 2

  destination_config {
    on_success {
      destination = aws_lambda_function.this["notify"].arn
    }

    on_failure {
      destination = aws_lambda_function.this["notify"].arn
    }
  }
}

# verify runs for each snapshot that the home's bucket gets.
resource "aws_s3_bucket_notification" "snapshots" {
  count = length(local.functions) > 0 && local.is_home ? 1 : 0

  bucket = aws_s3_bucket.published.id

  lambda_function {
    lambda_function_arn = aws_lambda_function.this["verify"].arn
    events              = ["s3:ObjectCreated:*"]
    filter_prefix       = "snapshots/"
  }

  depends_on = [aws_lambda_permission.snapshots]
}

resource "aws_lambda_permission" "snapshots" {
  count = length(local.functions) > 0 ? 1 : 0

  statement_id   = "snapshots"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this["verify"].function_name
  principal      = "s3.amazonaws.com"
  source_arn     = aws_s3_bucket.published.arn
  source_account = local.account
}

# notify hears the alarms.
resource "aws_sns_topic_subscription" "notify" {
  count = length(local.functions) > 0 ? 1 : 0

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "lambda"
  endpoint  = aws_lambda_function.this["notify"].arn
}

resource "aws_lambda_permission" "alarms" {
  count = length(local.functions) > 0 ? 1 : 0

  statement_id  = "alarms"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["notify"].function_name
  principal     = "sns.amazonaws.com"
  source_arn    = aws_sns_topic.alarms.arn
}

resource "aws_cloudwatch_metric_alarm" "verification" {
  count = length(local.functions) > 0 && local.is_home ? 1 : 0

  alarm_name          = "${local.name}-verification"
  alarm_description   = "A published snapshot does not verify from public files, or nobody could tell. ${var.runbooks_url}/verification-failed.md"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.this["verify"].function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "breaching" # a snapshot a minute at least: no run means no check
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = merge(local.tags, { Slo = "verification" })
}
