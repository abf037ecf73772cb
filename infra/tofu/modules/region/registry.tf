# This account's registry: there is no way to another. A tag cannot be moved, and
# tasks are started by digest anyway.

variable "repositories" {
  type        = list(string)
  description = "Names of the ECR repositories that the images are in."
  default     = ["tallystream", "nats", "aws-otel-collector"]

  validation {
    condition     = alltrue([for r in var.repositories : can(regex("^[a-z0-9][a-z0-9/_.-]*$", r))])
    error_message = "repositories must be names of ECR repositories, without wildcards."
  }
}

resource "aws_ecr_repository" "this" {
  for_each = toset(var.repositories)

  name                 = each.value
  image_tag_mutability = "IMMUTABLE"
  tags                 = local.tags

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.data.arn
  }
}
