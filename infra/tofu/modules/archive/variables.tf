variable "name" {
  type        = string
  description = "Name of the bucket. Names are global: it holds the second account's number."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "account" {
  type        = string
  description = "The account whose logs these are, and which the bucket must not be in."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "account must be the 12 digits of an AWS account."
  }
}

variable "deliveries" {
  type = map(object({
    service   = string
    prefixes  = list(string)
    asks      = bool
    condition = optional(object({ variable = string, values = list(string) }))
  }))
  description = "Who may put logs where: a service, the prefixes below which it may, whether it looks at the bucket first, and for whom it must be doing so (null: the prefixes name the account). Nobody else may put anything."

  validation {
    condition     = alltrue([for d in values(var.deliveries) : endswith(d.service, ".amazonaws.com")])
    error_message = "deliveries: each service must be one of AWS, such as delivery.logs.amazonaws.com."
  }

  validation {
    condition     = alltrue([for p in flatten(values(var.deliveries)[*].prefixes) : can(regex("^[A-Za-z0-9/-]*[A-Za-z0-9]$", p))])
    error_message = "deliveries: prefixes must be letters, digits, hyphens and slashes, without a wildcard or a slash at the end."
  }

  validation {
    condition     = alltrue([for d in values(var.deliveries) : try(contains(["aws:SourceAccount", "aws:SourceArn"], d.condition.variable), d.condition == null)])
    error_message = "deliveries: a condition must be on aws:SourceAccount or aws:SourceArn."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days for which nobody can delete a log; on the next day it goes."

  validation {
    condition     = var.log_retention_days >= 670
    error_message = "log_retention_days must be at least the 22 months (670 days) of 52 U.S.C. 20701."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of the bucket: all that the caller's resources have."

  validation {
    condition     = alltrue([for t in ["Owner", "CostCentre", "Election", "Region"] : contains(keys(var.tags), t)])
    error_message = "tags must hold Owner, CostCentre, Election and Region."
  }
}
