# The web application firewall before both hosts. Order: those we trust, those we
# ban, rates for each host, then what AWS knows about the rest.

variable "trusted_addresses" {
  type        = list(string)
  description = "Blocks of addresses that no rate limits: the authority's offices, newsrooms with a contract."
  default     = []

  validation {
    condition     = alltrue([for c in var.trusted_addresses : can(cidrhost(c, 0)) && !startswith(c, "0.0.0.0/")])
    error_message = "trusted_addresses must be IPv4 blocks, and never all addresses."
  }
}

variable "banned_addresses" {
  type        = list(string)
  description = "Blocks of addresses that are banned for long. Quick bans go into the rules' store."
  default     = []

  validation {
    condition     = alltrue([for c in var.banned_addresses : can(cidrhost(c, 0)) && !startswith(c, "0.0.0.0/")])
    error_message = "banned_addresses must be IPv4 blocks, and never all addresses."
  }
}

variable "rates" {
  type = object({
    results = number
    ingest  = number
  })
  description = "Requests in five minutes that one address may send to a host. Offices and mobile networks share addresses, so keep the first high."
  default     = { results = 6000, ingest = 1200 }

  validation {
    condition     = alltrue([for r in values(var.rates) : r >= 100])
    error_message = "rates must be at least 100 requests in five minutes."
  }
}

resource "aws_wafv2_ip_set" "trusted" {
  name               = "${local.name}-trusted"
  description        = "Addresses that no rate limits."
  scope              = "CLOUDFRONT"
  ip_address_version = "IPV4"
  addresses          = var.trusted_addresses
  tags               = local.tags
}

resource "aws_wafv2_ip_set" "banned" {
  name               = "${local.name}-banned"
  description        = "Addresses that are banned."
  scope              = "CLOUDFRONT"
  ip_address_version = "IPV4"
  addresses          = var.banned_addresses
  tags               = local.tags
}

locals {
  # AWS's rule groups, with the rules in them that only count here: a submission is
  # longer than the 8 KB that the common set allows, and newsrooms' programs are no
  # browsers.
  managed_groups = {
    AWSManagedRulesAmazonIpReputationList = { priority = 40, count = [] }
    AWSManagedRulesKnownBadInputsRuleSet  = { priority = 50, count = [] }
    AWSManagedRulesCommonRuleSet          = { priority = 60, count = ["SizeRestrictions_BODY", "NoUserAgent_HEADER"] }
    AWSManagedRulesBotControlRuleSet      = { priority = 70, count = ["CategoryHttpLibrary", "SignalNonBrowserUserAgent", "CategoryMonitoring"] }
  }

  rate_priorities = { results = 20, ingest = 30 }
}

resource "aws_wafv2_web_acl" "edge" {
  name        = local.name
  description = "Before pages and submissions."
  scope       = "CLOUDFRONT"
  tags        = local.tags

  default_action {
    allow {}
  }

  rule {
    name     = "trusted"
    priority = 0

    action {
      allow {}
    }

    statement {
      ip_set_reference_statement {
        arn = aws_wafv2_ip_set.trusted.arn
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "trusted"
      sampled_requests_enabled   = true
    }
  }

  rule {
    name     = "banned"
    priority = 10

    action {
      block {}
    }

    statement {
      ip_set_reference_statement {
        arn = aws_wafv2_ip_set.banned.arn
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "banned"
      sampled_requests_enabled   = true
    }
  }

  dynamic "rule" {
    for_each = local.rate_priorities

    content {
      name     = "rate-${rule.key}"
      priority = rule.value

      action {
        block {
          custom_response {
            response_code = 429

            response_header {
              name  = "Retry-After"
              value = "60"
            }
          }
        }
      }

      statement {
        rate_based_statement {
          limit                 = var.rates[rule.key]
          aggregate_key_type    = "IP"
          evaluation_window_sec = 300

          scope_down_statement {
            byte_match_statement {
              search_string         = var.hosts[rule.key]
              positional_constraint = "EXACTLY"

              field_to_match {
                single_header {
                  name = "host"
                }
              }

              text_transformation {
                priority = 0
                type     = "LOWERCASE"
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "rate-${rule.key}"
        sampled_requests_enabled   = true
      }
    }
  }

  dynamic "rule" {
    for_each = local.managed_groups

    content {
      name     = rule.key
      priority = rule.value.priority

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.key

          dynamic "rule_action_override" {
            for_each = rule.value.count

            content {
              name = rule_action_override.value

              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = rule.key
        sampled_requests_enabled   = true
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "edge"
    sampled_requests_enabled   = true
  }
}
