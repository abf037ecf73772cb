# Pages and files. Two origins, the home's bucket and its copy: if the first answers
# with an error, the second is asked, so that a lost region takes no page away.

locals {
  # Keys that are written once (publish/bucket, CacheControlOf).
  immutable_paths = [
    "/assets/*",
    "/cdf/*",
    "/corrections/*",
    "/csv/*",
    "/documents/*",
    "/holds/*",
    "/manifests/*",
    "/remainders/*",
    "/rosters/*",
    "/snapshots/*",
    "/tile/*",
    "/units/*",
  ]

  # Names that move with every snapshot.
  moving_paths = ["/checkpoint", "/latest"]

  cached_paths = merge(
    { for path in local.immutable_paths : path => aws_cloudfront_cache_policy.immutable.id },
    { for path in local.moving_paths : path => aws_cloudfront_cache_policy.short.id },
  )

  origins = {
    home    = var.regions[var.home_region].bucket_domain_name
    replica = var.regions[local.failover_region].bucket_domain_name
  }
}

resource "aws_cloudfront_origin_access_control" "bucket" {
  name                              = local.name
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_distribution" "results" {
  enabled             = true
  comment             = "${local.name}: pages and files"
  aliases             = [var.hosts.results]
  default_root_object = "index.html"
  http_version        = "http2and3"
  is_ipv6_enabled     = true
  price_class         = "PriceClass_All"
  web_acl_id          = aws_wafv2_web_acl.edge.arn
  tags                = local.tags

  dynamic "origin" {
    for_each = local.origins

    content {
      origin_id                = origin.key
      domain_name              = origin.value
      origin_access_control_id = aws_cloudfront_origin_access_control.bucket.id
      connection_attempts      = 2
      connection_timeout       = 2

      origin_shield {
        enabled              = true
        origin_shield_region = origin.key == "home" ? var.home_region : local.failover_region
      }
    }
  }

  origin_group {
    origin_id = "published"

    # 403 and 404 too: S3 answers so for what it does not have, and a copy may.
    failover_criteria {
      status_codes = [403, 404, 500, 502, 503, 504]
    }

    member {
      origin_id = "home"
    }

    member {
      origin_id = "replica"
    }
  }

  default_cache_behavior {
    target_origin_id           = "published"
    allowed_methods            = ["GET", "HEAD"]
    cached_methods             = ["GET", "HEAD"]
    viewer_protocol_policy     = "redirect-to-https"
    compress                   = true
    cache_policy_id            = aws_cloudfront_cache_policy.pages.id
    origin_request_policy_id   = aws_cloudfront_origin_request_policy.country.id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.results.id

    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.edge["results"].arn
    }
  }

  dynamic "ordered_cache_behavior" {
    for_each = local.cached_paths

    content {
      path_pattern               = ordered_cache_behavior.key
      target_origin_id           = "published"
      allowed_methods            = ["GET", "HEAD"]
      cached_methods             = ["GET", "HEAD"]
      viewer_protocol_policy     = "redirect-to-https"
      compress                   = true
      cache_policy_id            = ordered_cache_behavior.value
      origin_request_policy_id   = aws_cloudfront_origin_request_policy.country.id
      response_headers_policy_id = aws_cloudfront_response_headers_policy.results.id

      function_association {
        event_type   = "viewer-request"
        function_arn = aws_cloudfront_function.edge["results"].arn
      }
    }
  }

  # An object that is not there yet will be in a moment.
  dynamic "custom_error_response" {
    for_each = toset([403, 404, 500, 502, 503, 504])

    content {
      error_code            = custom_error_response.value
      error_caching_min_ttl = 1
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = "none" # the rules' store closes countries, without a deploy
    }
  }

  viewer_certificate {
    acm_certificate_arn      = aws_acm_certificate_validation.edge["results"].certificate_arn
    minimum_protocol_version = "TLSv1.2_2021"
    ssl_support_method       = "sni-only"
  }
}

resource "aws_cloudfront_monitoring_subscription" "results" {
  distribution_id = aws_cloudfront_distribution.results.id

  monitoring_subscription {
    realtime_metrics_subscription_config {
      realtime_metrics_subscription_status = "Enabled"
    }
  }
}
