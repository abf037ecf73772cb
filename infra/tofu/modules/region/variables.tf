variable "election" {
  type        = string
  description = "Identifier of the election, as in definition.json. Part of every name."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,19}[a-z0-9]$", var.election))
    error_message = "election must be 3 to 21 lower-case letters, digits and hyphens. Others are legal, but `tallystream setup` shortens them to a digest."
  }
}

variable "region" {
  type        = string
  description = "Region that this module stands in, such as us-east-1. Must be the one of the provider."

  validation {
    condition     = can(regex("^[a-z]{2}(-gov)?-[a-z]+-[0-9]$", var.region))
    error_message = "region must be a region's code, such as us-east-1."
  }
}

variable "writer_region" {
  type        = string
  description = "The region that counts and publishes the election. The others have no right to write ledger or bucket, nor to sign."

  validation {
    condition     = can(regex("^[a-z]{2}(-gov)?-[a-z]+-[0-9]$", var.writer_region))
    error_message = "writer_region must be a region's code, such as us-east-1."
  }
}

variable "home_region" {
  type        = string
  description = "The region where the election's stream, ledger and bucket are. All regions are given the same."

  validation {
    condition     = can(regex("^[a-z]{2}(-gov)?-[a-z]+-[0-9]$", var.home_region))
    error_message = "home_region must be a region's code, such as us-east-1."
  }
}

variable "home" {
  type = object({
    data_key_arn    = string
    signing_key_arn = string
    endpoints       = map(string)
  })
  description = "The home region's outputs of the same names: its keys, and the URLs of its endpoints, by which another region reaches it through the peering."

  validation {
    condition     = startswith(var.home.data_key_arn, "arn:") && strcontains(var.home.data_key_arn, ":${var.home_region}:") && strcontains(var.home.signing_key_arn, ":${var.home_region}:")
    error_message = "home.data_key_arn and home.signing_key_arn must be of the home region: take them from its module's outputs."
  }

  validation {
    condition     = alltrue([for s in ["kinesis", "dynamodb", "s3", "kms"] : startswith(lookup(var.home.endpoints, s, ""), "https://")])
    error_message = "home.endpoints must name kinesis, dynamodb, s3 and kms, each by an https URL."
  }
}

variable "replica_bucket_arn" {
  type        = string
  description = "ARN of the bucket in another region that takes a copy of this one's: that region's output bucket_arn."

  validation {
    condition     = can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", var.replica_bucket_arn)) && !endswith(var.replica_bucket_arn, "-${var.region}")
    error_message = "replica_bucket_arn must be the ARN of another region's bucket."
  }
}

variable "signing_primary" {
  type = object({
    arn = string
  })
  description = "The multi-Region signing key's primary in another region. Null: the primary is made here. Viewers pin this key, so all regions sign with the same one. (An object, so that a first plan knows whether there is one.)"
  default     = null

  validation {
    condition     = var.signing_primary == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/mrk-", var.signing_primary.arn))
    error_message = "signing_primary.arn must be the ARN of a multi-Region key (key/mrk-...)."
  }
}

variable "administrators" {
  type        = list(string)
  description = "ARNs of the roles that administer keys and secrets. They can neither sign nor decrypt."

  validation {
    condition     = length(var.administrators) > 0 && alltrue([for a in var.administrators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", a))])
    error_message = "administrators must be one or more ARNs of roles, without wildcards; without any, nobody could change the keys' policies."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days that logs stay, here and in the second account. US federal law asks for 22 months of election records (52 U.S.C. 20701): 670 days."
  default     = 731

  validation {
    condition     = contains([731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a retention that CloudWatch Logs offers and at least 22 months: 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of everything, beside Election, Region and ManagedBy."

  validation {
    condition     = alltrue([for t in ["Owner", "CostCentre"] : contains(keys(var.tags), t)])
    error_message = "tags must hold Owner and CostCentre: who is called at night, and who pays."
  }
}
