variable "election" {
  type        = string
  description = "Identifier of the election, the same as the region modules'."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,19}[a-z0-9]$", var.election))
    error_message = "election must be 3 to 21 lower-case letters, digits and hyphens."
  }
}

variable "hosts" {
  type = object({
    results = string
    ingest  = string
    live    = string
  })
  description = "Public host names: pages, submissions, live results."

  validation {
    condition     = alltrue([for h in values(var.hosts) : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", h))])
    error_message = "hosts must be host names, without scheme or path."
  }

  validation {
    condition     = length(distinct(values(var.hosts))) == 3
    error_message = "hosts must be three different names: submissions and viewers share nothing."
  }
}

variable "zone_id" {
  type        = string
  description = "Route 53 hosted zone of the host names."

  validation {
    condition     = can(regex("^Z[A-Z0-9]+$", var.zone_id))
    error_message = "zone_id must be a hosted zone's identifier, such as Z0123456789ABCDEF."
  }
}

variable "home_region" {
  type        = string
  description = "The region whose bucket the pages come from."

  validation {
    condition     = contains(keys(var.regions), var.home_region)
    error_message = "home_region must be one of regions."
  }
}

variable "regions" {
  type = map(object({
    bucket_domain_name = string
    ingest_dns_name    = string
    ingest_zone_id     = string
    ingest_alarm       = string
    live_dns_name      = string
    live_zone_id       = string
    live_eip_arns      = map(string)
    failover_region    = string
  }))
  description = "What the region modules made, by region, and which region takes over from each."

  validation {
    condition     = length(var.regions) >= 2 && alltrue([for name, r in var.regions : r.failover_region != name && contains(keys(var.regions), r.failover_region)])
    error_message = "regions must be two or more, and each must fail over to another of them."
  }
}

variable "alarm_subscribers" {
  type        = map(string)
  description = "Who is called, by endpoint: https URLs of a pager or e-mail addresses."

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

variable "log_retention_days" {
  type        = number
  description = "Days that the edge's logs stay in the second account."
  default     = 731

  validation {
    condition     = var.log_retention_days >= 670
    error_message = "log_retention_days must be at least the 22 months (670 days) of 52 U.S.C. 20701."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of everything, beside Election and ManagedBy."

  validation {
    condition     = alltrue([for t in ["Owner", "CostCentre"] : contains(keys(var.tags), t)])
    error_message = "tags must hold Owner and CostCentre: who is called at night, and who pays."
  }
}

locals {
  name            = "tallystream-${var.election}"
  account         = data.aws_caller_identity.this.account_id
  partition       = data.aws_partition.this.partition
  failover_region = var.regions[var.home_region].failover_region

  tags = merge(var.tags, { Election = var.election, Region = "global", ManagedBy = "opentofu" })
}
