# The ECS cluster, its logs, and the images it runs.

variable "images" {
  type = object({
    tallystream = string
    bus         = string
    collector   = string
  })
  description = "Images by digest: ours (with the election's definition and roster in /election), nats (2.11 or later, the alpine variant) and aws-otel-collector. All in this account's registry: there is no way to another."

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com/[a-z0-9/_.-]+@sha256:[0-9a-f]{64}$", image))])
    error_message = "images must be ECR images by digest (...@sha256:64 hex digits). A tag can be moved to other bytes; a digest cannot."
  }
}

resource "aws_ecs_cluster" "this" {
  name = local.name
  tags = local.tags

  setting {
    name  = "containerInsights"
    value = "enhanced"
  }

  configuration {
    managed_storage_configuration {
      fargate_ephemeral_storage_kms_key_id = aws_kms_key.data.id
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE"] # no spot: a night is short

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

resource "aws_cloudwatch_log_group" "service" {
  for_each = local.secrets_of

  name              = "/${local.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.data.arn
  tags              = local.tags
}

resource "aws_cloudwatch_log_group" "metrics" {
  name              = "/${local.name}/metrics"
  retention_in_days = 30 # what they say is kept as metrics
  kms_key_id        = aws_kms_key.data.arn
  tags              = local.tags
}
