variable "account" {
  type        = string
  description = "Account that the deployment stands in."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "account must be the 12 digits of an AWS account."
  }
}

variable "archive_account" {
  type        = string
  description = "Second account, which keeps the logs. Other people administer it."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.archive_account)) && var.archive_account != var.account
    error_message = "archive_account must be the 12 digits of another account."
  }
}

variable "deploy_role" {
  type        = string
  description = "Name of the role in both accounts that creates all this."
  default     = "tallystream-deploy"

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.deploy_role))
    error_message = "deploy_role must be the name of a role."
  }
}

variable "election" {
  type        = string
  description = "Identifier of the election, as in definition.json."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,19}[a-z0-9]$", var.election))
    error_message = "election must be 3 to 21 lower-case letters, digits and hyphens."
  }
}

# The two switches of a move. Normally both name the same region. infra/runbooks
# says when and in which order they are changed.

variable "home_region" {
  type        = string
  description = "Where the election's stream, ledger and bucket are: the one truth. Changed only when the region's data cannot be reached any more."
  default     = "us-east-1"

  validation {
    condition     = contains(["us-east-1", "us-west-2"], var.home_region)
    error_message = "home_region must be us-east-1 or us-west-2."
  }
}

variable "writer_region" {
  type        = string
  description = "Where the election is counted and published. Exactly one region; the others have no right to write."
  default     = "us-east-1"

  validation {
    condition     = contains(["us-east-1", "us-west-2"], var.writer_region)
    error_message = "writer_region must be us-east-1 or us-west-2."
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
    condition     = length(distinct(values(var.hosts))) == 3
    error_message = "hosts must be three different names."
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

variable "images" {
  type = map(object({
    tallystream = string
    bus         = string
    collector   = string
  }))
  description = "Images by digest, by region: each region pulls from its own registry."

  validation {
    condition     = toset(keys(var.images)) == toset(["us-east-1", "us-west-2"])
    error_message = "images must have us-east-1 and us-west-2."
  }
}

variable "functions" {
  type = map(object({
    bucket   = string
    verifier = string
    code = map(object({
      key     = string
      version = string
      sha256  = string
    }))
  }))
  description = "Archives of the functions by region, and the verifier key of snapshots. Empty: no functions."
  default     = {}

  validation {
    condition     = alltrue([for region in keys(var.functions) : contains(["us-east-1", "us-west-2"], region)])
    error_message = "functions may have us-east-1 and us-west-2."
  }
}

variable "release_pointer" {
  type = object({
    bucket = string
    key    = string
  })
  description = "The object that names the release which should answer, in a bucket of the account in the home region. Null: any release may."
  default     = null

  validation {
    condition     = var.release_pointer == null || try(length(var.release_pointer.bucket) > 2 && length(var.release_pointer.key) > 0, false)
    error_message = "release_pointer must have a bucket and a key."
  }
}

variable "receipt_key" {
  type        = string
  description = "Verifier key of receipts, as `tallystream keys new` printed it with the secret ingest_key. Null: the public log does not say whose receipts count."
  default     = null

  validation {
    condition     = var.receipt_key == null || can(regex("^[^ +]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$", var.receipt_key))
    error_message = "receipt_key must be a verifier key: name+hash+key."
  }
}

variable "root_keys" {
  type        = bool
  description = "Whether the images have /election/roots.json: offline root keys that may change roster and keys in the night."
  default     = false
}

variable "suppression" {
  type        = bool
  description = "Whether the definition's rules.suppression hides small units."
  default     = false
}

variable "origin_secret" {
  type        = string
  sensitive   = true
  description = "Random text of 32 or more characters that CloudFront shows to the balancers. Set TF_VAR_origin_secret."

  validation {
    condition     = length(var.origin_secret) >= 32
    error_message = "origin_secret must be 32 or more random characters."
  }
}

variable "results_distribution_arn" {
  type        = string
  description = "ARN of the distribution of pages: null at the first apply, then the output of the same name. Until then nobody can read the buckets."
  default     = null

  validation {
    condition     = var.results_distribution_arn == null || can(regex("^arn:aws:cloudfront::[0-9]{12}:distribution/[A-Z0-9]+$", var.results_distribution_arn))
    error_message = "results_distribution_arn must be the ARN of one CloudFront distribution."
  }
}

variable "edge_functions" {
  type = object({
    results = string
    ingest  = string
  })
  description = "Paths of the sources of the CloudFront functions, from infra/edge."

  validation {
    condition     = alltrue([for path in values(var.edge_functions) : endswith(path, ".js")])
    error_message = "edge_functions must be paths of .js files."
  }
}

variable "administrators" {
  type        = list(string)
  description = "ARNs of the roles that administer keys and secrets."

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators must be one or more ARNs of roles."
  }
}

variable "alarm_subscribers" {
  type        = map(string)
  description = "Who is called, by endpoint: https URLs of a pager or e-mail addresses."

  validation {
    condition     = length(var.alarm_subscribers) > 0
    error_message = "alarm_subscribers must have at least one endpoint."
  }
}

variable "runbooks_url" {
  type        = string
  description = "Where infra/runbooks is published for those on duty; every alarm links to it."

  validation {
    condition     = startswith(var.runbooks_url, "https://") && !endswith(var.runbooks_url, "/")
    error_message = "runbooks_url must be an https URL without a slash at its end."
  }
}

variable "monthly_budget_usd" {
  type        = number
  description = "Dollars a month, from `tallystream capacity`."

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above zero."
  }
}

variable "shield_advanced" {
  type        = bool
  description = "Whether to subscribe to Shield Advanced, for a year."
  default     = false
}

variable "shards" {
  type        = number
  description = "Shards of each region's stream, from `tallystream capacity`."
  default     = 4

  validation {
    condition     = var.shards >= 2
    error_message = "shards must be at least 2."
  }
}

variable "prewarm" {
  type = map(object({
    schedule = string
    timezone = string
    minimum  = map(number)
  }))
  description = "Least numbers of tasks by service from a moment on, such as the close of polls."
  default     = {}

  validation {
    condition     = alltrue([for p in values(var.prewarm) : can(regex("^(at|cron)\\(.+\\)$", p.schedule))])
    error_message = "prewarm.schedule must be at(yyyy-mm-ddThh:mm:ss) or cron(...)."
  }
}

variable "object_lock_days" {
  type        = number
  description = "Days for which published objects cannot be deleted: 1 for a rehearsal, 670 for an election."
  default     = 670

  validation {
    condition     = var.object_lock_days >= 1
    error_message = "object_lock_days must be at least 1."
  }
}

variable "owner" {
  type        = string
  description = "Who is called about anything here, as the tag Owner."

  validation {
    condition     = length(var.owner) > 0
    error_message = "owner must not be empty."
  }
}

variable "cost_centre" {
  type        = string
  description = "Who pays, as the tag CostCentre."

  validation {
    condition     = length(var.cost_centre) > 0
    error_message = "cost_centre must not be empty."
  }
}
