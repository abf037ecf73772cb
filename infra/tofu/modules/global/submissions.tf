# Submissions, through the same filters and another distribution: nothing is cached,
# and nobody is ever given a made-up answer here, for a false receipt destroys trust.

variable "origin_secret_name" {
  type        = string
  description = "Header that proves to a region's balancer that a request came through here; as in the region modules."
  default     = "x-tallystream-edge"

  validation {
    condition     = can(regex("^x-[a-z-]+$", var.origin_secret_name))
    error_message = "origin_secret_name must be a lower-case header name that starts with x-."
  }
}

variable "origin_secret" {
  type        = string
  sensitive   = true
  description = "What that header holds, as in the region modules; from the environment, never from a file."

  validation {
    condition     = length(var.origin_secret) >= 32
    error_message = "origin_secret must be 32 or more random characters."
  }
}

resource "aws_cloudfront_distribution" "ingest" {
  enabled         = true
  comment         = "${local.name}: submissions"
  aliases         = [var.hosts.ingest]
  http_version    = "http2and3"
  is_ipv6_enabled = true
  price_class     = "PriceClass_All"
  web_acl_id      = aws_wafv2_web_acl.edge.arn
  tags            = local.tags

  origin {
    origin_id           = "ingest"
    domain_name         = local.ingest_origin_host
    connection_attempts = 2
    connection_timeout  = 3

    custom_header {
      name  = var.origin_secret_name
      value = var.origin_secret
    }

    custom_origin_config {
      http_port                = 80
      https_port               = 443
      origin_protocol_policy   = "https-only"
      origin_ssl_protocols     = ["TLSv1.2"]
      origin_read_timeout      = 30
      origin_keepalive_timeout = 30
    }
  }

  default_cache_behavior {
    target_origin_id         = "ingest"
    allowed_methods          = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"] # CloudFront has no set with POST that is smaller
    cached_methods           = ["GET", "HEAD"]
    viewer_protocol_policy   = "https-only"
    compress                 = false
    cache_policy_id          = aws_cloudfront_cache_policy.never.id
    origin_request_policy_id = aws_cloudfront_origin_request_policy.submission.id

    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.edge["ingest"].arn
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = aws_acm_certificate_validation.edge["ingest"].certificate_arn
    minimum_protocol_version = "TLSv1.2_2021"
    ssl_support_method       = "sni-only"
  }
}
